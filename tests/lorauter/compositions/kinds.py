"""Adapters of several kinds on a tiny random Llama, and how a composition of them is made and served.

TOLERANCE is on logits of order 1 to 10; PEFT multiplies in another order.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from transformers import LlamaForCausalLM

from lorauter.adapters.weights import AdapterWeights, LoraPair
from lorauter.compositions import open_composition
from lorauter.compositions.base import Composed, CompositionOptions, Merge
from lorauter.engine.bank.bank import AdapterBank
from lorauter.routing.routes import Mixture

TOLERANCE = {"atol": 1e-4, "rtol": 1e-4}
Q_PROJ, V_PROJ, O_PROJ = (f"model.layers.0.self_attn.{name}_proj" for name in "qvo")
ATTENTION = ["q_proj", "k_proj", "v_proj", "o_proj"]
KINDS: dict[str, dict[str, Any]] = {
    "qv": {"r": 4, "lora_alpha": 8, "target_modules": ["q_proj", "v_proj"]},
    "qv_too": {"r": 4, "lora_alpha": 3, "target_modules": ["q_proj", "v_proj"]},
    "mlp": {"r": 4, "lora_alpha": 4, "target_modules": ["v_proj", "up_proj", "down_proj"]},
    "wide": {"r": 8, "target_modules": ATTENTION},
    "rslora": {"r": 4, "lora_alpha": 4, "use_rslora": True, "target_modules": ["q_proj", "o_proj"]},
    "pattern": {
        "r": 4,
        "target_modules": ATTENTION,
        "rank_pattern": {"q_proj": 2},
        "alpha_pattern": {"v_proj": 3, "q_proj": 5},
    },
    "dora": {"r": 4, "use_dora": True, "target_modules": ["q_proj", "down_proj"]},
}
MERGES = ("linear", "ties", "magnitude_prune", "dare_linear", "dare_ties")
TWO_SIDED = (*MERGES, "fusion")
OPTIONS = CompositionOptions(density=0.3, seed=5)
IDS = torch.arange(20)[None] * 3 % 50


@torch.inference_mode()
def served(base: LlamaForCausalLM, composed: Composed, read: Callable[[str], AdapterWeights]) -> torch.Tensor:
    """Logits of the base with what the composition says, as the adapter bank serves it."""
    bank = AdapterBank(base, "cpu", torch.float32, capacity=8)
    for key, _ in composed.mixture:
        merged = composed.merge is not None and composed.merge.key == key
        bank.add(key, composed.merge.weights(read) if merged and composed.merge else read(key))
    with bank.serving(bank.plan([composed.mixture])):
        logits: torch.Tensor = base(IDS).logits
    return logits


def compose(name: str, mixture: Mixture, options: CompositionOptions = OPTIONS) -> Composed:
    return open_composition(name, options).compose(mixture)


def merge_of(name: str, mixture: Mixture, options: CompositionOptions = OPTIONS) -> Merge:
    merge = compose(name, mixture, options).merge
    assert merge is not None
    return merge


def delta(pair: LoraPair) -> torch.Tensor:
    return pair.scaling * pair.b @ pair.a
