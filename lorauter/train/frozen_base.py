"""The base that trainings go through. Knows: how it is loaded. Does not know: what is trained on it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch


def frozen_base(folder: Path, device: str) -> tuple[Any, Any]:
    """Model and tokenizer of a folder, in float32, nothing to be trained."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    base: Any = AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, trust_remote_code=False, use_safetensors=True
    )
    return base.to(device).eval().requires_grad_(False), AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
