"""Adapters of many kinds on the tiny base, with the dense ΔW that PEFT itself merges for each."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

ATTENTION = ["q_proj", "k_proj", "v_proj", "o_proj"]
KINDS: dict[str, dict[str, Any]] = {
    "narrow": {"r": 2, "lora_alpha": 7, "target_modules": ["q_proj", "v_proj"]},
    "wide": {"r": 9, "lora_alpha": 4, "target_modules": ATTENTION},
    "linear": {"r": 4, "lora_alpha": 9, "use_rslora": True, "target_modules": "all-linear"},
    "pattern": {"r": 3, "target_modules": ["q_proj", "o_proj"], "alpha_pattern": {"q_proj": 30}},
    "mlp": {"r": 5, "lora_alpha": 20, "target_modules": ["up_proj", "down_proj"]},
    "dora": {"r": 4, "use_dora": True, "target_modules": ["q_proj", "down_proj"]},
}


@pytest.fixture(scope="session")
def tiny_pool(tiny_hub_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Kind → its PEFT folder."""
    import torch
    from peft import LoraConfig, get_peft_model

    folder = tmp_path_factory.mktemp("pool")
    for seed, (kind, options) in enumerate(KINDS.items()):
        torch.manual_seed(seed)
        config = LoraConfig(task_type="CAUSAL_LM", init_lora_weights=False, **options)
        model = get_peft_model(plain_base(tiny_hub_folder), config)
        for name, tensor in model.named_parameters():
            if "magnitude" in name:
                tensor.data *= 1 + 0.3 * torch.randn_like(tensor)
        model.save_pretrained(str(folder / kind))
    return lambda key: folder / key


@pytest.fixture(scope="session")
def tiny_engine(tiny_hub_folder: Path, tiny_pool: Callable[[str], Path]) -> Any:
    """An engine in fp32 over the kinds."""
    from lorauter.engine.engine import Engine

    return Engine(tiny_hub_folder / "tiny/llama", device="cpu", dtype="float32", find_adapter=tiny_pool)


@pytest.fixture(scope="session")
def delta(tiny_hub_folder: Path, tiny_pool: Callable[[str], Path]) -> Callable[[str, str], Any]:
    """Kind and module → the dense W' - W that PEFT merges, (d_out, d_in)."""
    from peft import PeftModel

    base = plain_base(tiny_hub_folder)

    @cache
    def merged(kind: str) -> Any:
        return PeftModel.from_pretrained(plain_base(tiny_hub_folder), tiny_pool(kind)).merge_and_unload()

    def found(kind: str, module: str) -> Any:
        return (merged(kind).get_submodule(module).weight - base.get_submodule(module).weight).detach()

    return found


def plain_base(hub: Path) -> Any:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(hub / "tiny/llama").eval()
