"""The base: one frozen causal LM and its tokenizer, loaded for the engine.

Knows: how a folder is read, which attention is used, which bases cannot be served. Does not know: adapters, batches.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, DynamicCache
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING

from catalog.errors import SettingError
from lorauter.engine.attention import CPU_ATTENTION


def load_base(base_dir: Path, device: str, dtype: torch.dtype) -> tuple[Any, Any]:
    """Model and tokenizer of a folder that `from_pretrained` reads.

    Raises:
        SettingError: the folder cannot be read, or its base cannot be served.
    """
    try:
        tokenizer = AutoTokenizer.from_pretrained(base_dir, trust_remote_code=False)
        model: Any = AutoModelForCausalLM.from_pretrained(
            base_dir, config=_config(base_dir, device), dtype=dtype, use_safetensors=True, trust_remote_code=False
        )
    except (OSError, ValueError, SafetensorError) as error:
        raise SettingError(f"The base in {base_dir} cannot be read ({error}).", "Check the folder.") from error
    # transformers slices the last positions out of the hidden states. On a slice that is not contiguous
    # torch's CPU linear becomes a bmm with the head's matrix copied for every row: 3 times the prefill.
    model.get_output_embeddings().register_forward_pre_hook(lambda _, inputs: (inputs[0].contiguous(),))
    _refuse_states(model)
    return model.to(device).eval().requires_grad_(False), tokenizer


def _refuse_states(model: Any) -> None:
    """Padding on the left would enter a recurrent state, and its rows could not be dropped."""
    layers = DynamicCache(config=model.config).layers
    if getattr(model, "_is_stateful", False) or not all(hasattr(layer, "batch_select_indices") for layer in layers):
        raise SettingError(
            f"The base is a {type(model).__name__}, which keeps a state and not only keys and values.",
            "Choose a base whose every layer is attention.",
        )


def _config(base_dir: Path, device: str) -> Any:
    """The base's config with torch's attention, or ours on a CPU, whatever it asks for; "eager" where those would leave
    out softcapping."""
    config = AutoConfig.from_pretrained(base_dir, trust_remote_code=False)
    kind = MODEL_FOR_CAUSAL_LM_MAPPING.get(type(config), None)
    plain = CPU_ATTENTION if device == "cpu" else "sdpa"
    config._attn_implementation = plain if getattr(kind, "_supports_sdpa", True) else "eager"
    return config


def end_tokens(model: Any, tokenizer: Any) -> frozenset[int]:
    """The tokens that end a text."""
    configured = getattr(model.generation_config, "eos_token_id", None)
    ends = configured if isinstance(configured, list) else [configured]
    return frozenset(int(token) for token in [*ends, tokenizer.eos_token_id] if token is not None)
