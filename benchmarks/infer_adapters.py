"""Adapters of a wished shape with random weights, as PEFT saves them.

Knows: PEFT's files. Does not know: what serves them. Random weights cost what trained ones cost, and change texts.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn

SCALE = 0.02
ATTENTION = ("q_proj", "v_proj")
ALL_LINEAR = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


@dataclass(frozen=True)
class Kind:
    """What an adapter changes: modules by the end of their names, and its rank."""

    name: str
    targets: tuple[str, ...]
    rank: int

    def modules(self, model: nn.Module) -> dict[str, nn.Linear]:
        """The base's modules that it changes."""
        return {
            name: module
            for name, module in model.named_modules()
            if isinstance(module, nn.Linear) and name.rpartition(".")[2] in self.targets
        }

    def numbers(self, model: nn.Module) -> int:
        """How many weights one adapter has."""
        return sum(self.rank * (m.in_features + m.out_features) for m in self.modules(model).values())


QV8 = Kind("q/v r8", ATTENTION, 8)
ALL16 = Kind("all-linear r16", ALL_LINEAR, 16)


def write_adapters(root: Path, model: nn.Module, kind: Kind, count: int) -> list[Path]:
    """Folders of `count` distinct adapters of a kind for a base, in bf16."""
    return [_write(root / str(seed), model, kind, seed) for seed in range(count)]


def _write(folder: Path, model: nn.Module, kind: Kind, seed: int) -> Path:
    made = torch.Generator().manual_seed(seed)
    tensors: dict[str, torch.Tensor] = {}
    for name, module in kind.modules(model).items():
        for side, shape in (("A", (kind.rank, module.in_features)), ("B", (module.out_features, kind.rank))):
            drawn = torch.randn(shape, generator=made) * SCALE
            tensors[f"base_model.model.{name}.lora_{side}.weight"] = drawn.bfloat16().contiguous()
    folder.mkdir(parents=True)
    save_file(tensors, folder / "adapter_model.safetensors")
    config: dict[str, Any] = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "r": kind.rank,
        "lora_alpha": 2 * kind.rank,
        "target_modules": list(kind.targets),
    }
    (folder / "adapter_config.json").write_text(json.dumps(config))
    return folder
