"""The deep check of downloaded weights: finite, not all zero, how large.

Knows: torch and safetensors. Does not know: rules and reasons (catalog/rules). Never opens a pickle.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from catalog.parse import module_name
from catalog.rules import WeightFacts


@dataclass(frozen=True, slots=True)
class CheckedWeights:
    """The facts for the rules, and the mean over modules of the Frobenius norm of BA (scaling left out)."""

    facts: WeightFacts
    mean_norm: float


def check_weights(path: Path) -> CheckedWeights:
    """Read a safetensors file of one adapter and look at every tensor.

    A file that is no safetensors, for all that its header promised, counts as not finite: `(unreadable)`.
    """
    try:
        non_finite, sides = _read(path)
    except SafetensorError:
        non_finite, sides = ["(unreadable)"], {}
    zero_b = all(not pair["B"].any() for pair in sides.values() if "B" in pair)
    norms = [_product_norm(p["A"], p["B"]) for p in sides.values() if len(p) == 2]
    mean_norm = math.nan if non_finite or not norms else math.fsum(norms) / len(norms)
    return CheckedWeights(WeightFacts(path.stat().st_size, _sha256(path), tuple(non_finite), zero_b), mean_norm)


def _read(path: Path) -> tuple[list[str], dict[str, dict[str, torch.Tensor]]]:
    """Names of tensors that are not finite, and the A and B of every module."""
    sides: dict[str, dict[str, torch.Tensor]] = {}
    non_finite = []
    with safe_open(path, framework="pt") as file:
        for name in sorted(file.keys()):
            tensor = file.get_tensor(name).float()
            if not torch.isfinite(tensor).all():
                non_finite.append(name)
            module, _, side = name.partition(".lora_")
            if side[:1] in ("A", "B"):
                sides.setdefault(module_name(module), {})[side[:1]] = tensor
    return non_finite, sides


def _product_norm(a: torch.Tensor, b: torch.Tensor) -> float:
    """‖BA‖_F from the r × r Gram matrices, without forming BA."""
    return math.sqrt(max(0.0, float(((b.T @ b) * (a @ a.T)).sum())))


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
