"""A tiny Llama, adapters of every kind on it, and PEFT itself as the reference for what they write."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

from lorauter.routing.routes import Mixture

ATTENTION = ["q_proj", "k_proj", "v_proj", "o_proj"]
KINDS: dict[str, dict[str, Any]] = {
    "qv": {"r": 4, "target_modules": ["q_proj", "v_proj"]},
    "attention": {"r": 8, "target_modules": ATTENTION},
    "linear": {"r": 4, "target_modules": "all-linear"},
    "alpha": {"r": 4, "lora_alpha": 1, "target_modules": ["q_proj", "v_proj"]},
    "rslora": {"r": 4, "lora_alpha": 4, "use_rslora": True, "target_modules": ["o_proj", "up_proj"]},
    "pattern": {
        "r": 4,
        "target_modules": ATTENTION,
        "rank_pattern": {"q_proj": 2, r"layers\.1\.self_attn.k_proj": 6},
        "alpha_pattern": {"v_proj": 3, "^model.layers.0.self_attn.q_proj": 5},
    },
    "dora": {"r": 4, "use_dora": True, "target_modules": ["q_proj", "down_proj"]},
    "dora_too": {"r": 2, "use_dora": True, "target_modules": ATTENTION},
    "head": {"r": 4, "target_modules": ["q_proj", "lm_head"]},
}
PROMPTS = [
    "Is water wet?",
    "a",
    "The quick brown fox jumps",
    "2 + 2 =",
    "Once upon",
    "To be or not",
    "ab ab ab",
    "x",
    "Why?",
]
ONE_EACH: list[Mixture] = [((kind, 1.0),) for kind in KINDS]
CONTEXT = 64


def randomise(model: torch.nn.Module, ending: str, by: float = 0.3) -> None:
    for name, tensor in model.named_parameters():
        if ending in name:
            tensor.data += by * torch.randn_like(tensor)


def load(base_dir: Path) -> Any:
    return AutoModelForCausalLM.from_pretrained(base_dir, dtype=torch.float32).eval()


def next_logits(model: Any, tokenizer: Any, prompt: str) -> torch.Tensor:
    with torch.inference_mode():
        logits: torch.Tensor = model(**tokenizer(prompt, return_tensors="pt")).logits[0, -1]
    return logits


@dataclass(frozen=True)
class Reference:
    """PEFT itself, one prompt at a time."""

    base: Any
    peft: PeftModel
    tokenizer: Any

    def logits(self, prompt: str, adapter: str) -> torch.Tensor:
        self.peft.set_adapter(adapter)
        return next_logits(self.peft, self.tokenizer, prompt)

    def text(self, prompt: str, adapter: str | None, tokens: int) -> str:
        model: Any = self.base
        if adapter is not None:
            self.peft.set_adapter(adapter)
            model = self.peft
        ids = self.tokenizer(prompt, return_tensors="pt")["input_ids"]
        mask = torch.ones_like(ids)
        found = model.generate(input_ids=ids, attention_mask=mask, max_new_tokens=tokens, do_sample=False)
        text: str = self.tokenizer.decode(found[0, ids.shape[1] :], skip_special_tokens=True)
        return text.lstrip()
