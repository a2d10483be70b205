"""The deep check of downloaded weights: finite, not all zero, how large.

Knows: torch and safetensors. Does not know: rules and reasons (catalog/rules). Never opens a pickle.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from catalog.adapters.parse import module_name
from catalog.rules.table import WeightFacts
from lorauter.adapters.pair_check import is_finite, overflows, product_norm


@dataclass(frozen=True, slots=True)
class CheckedWeights:
    """The facts for the rules, and the Frobenius norm of BA: of each module, and its mean (scaling left out).

    Where a tensor is not finite there are no norms, and the mean is NaN.
    """

    facts: WeightFacts
    mean_norm: float
    norms: Mapping[str, float]


def check_weights(path: Path) -> CheckedWeights:
    """Read a safetensors file of one adapter and look at every tensor.

    A file that is no safetensors, for all that its header promised, counts as not finite: `(unreadable)`.
    """
    try:
        non_finite, sides, is_dora = _read(path)
    except SafetensorError:
        non_finite, sides, is_dora = ["(unreadable)"], {}, False
    pairs = {} if non_finite else {module: pair for module, pair in sides.items() if _is_pair(pair)}
    over = [module for module, pair in pairs.items() if overflows(pair["A"], pair["B"])]
    norms = {} if over else {module: product_norm(pair["A"], pair["B"]) for module, pair in pairs.items()}
    non_finite += [f"the product of A and B at {module}" for module in over]
    zero_b = all(not pair["B"].any() for pair in sides.values() if "B" in pair)
    zero_b = (zero_b or (bool(norms) and not any(norms.values()))) and not is_dora
    mean_norm = math.fsum(norms.values()) / len(norms) if norms else math.nan
    facts = WeightFacts(path.stat().st_size, _sha256(path), tuple(non_finite), zero_b)
    return CheckedWeights(facts, mean_norm, norms)


def _read(path: Path) -> tuple[list[str], dict[str, dict[str, torch.Tensor]], bool]:
    """Names of tensors that are not finite, the A and B of every module, whether there are magnitudes: a DoRA's change
    something even where its products do not.
    """
    sides: dict[str, dict[str, torch.Tensor]] = {}
    non_finite = []
    is_dora = False
    with safe_open(path, framework="pt") as file:
        for name in sorted(file.keys()):
            tensor = file.get_tensor(name).float()
            if not is_finite(tensor):
                non_finite.append(name)
            is_dora = is_dora or "lora_magnitude_vector" in name
            module, _, side = name.partition(".lora_")
            if side[:1] in ("A", "B"):
                sides.setdefault(module_name(module), {})[side[:1]] = tensor
    return non_finite, sides, is_dora


def _is_pair(pair: Mapping[str, torch.Tensor]) -> bool:
    """Whether A and B are matrices of one rank: what has no header rules before it may hold anything."""
    a, b = pair.get("A"), pair.get("B")
    return a is not None and b is not None and a.ndim == b.ndim == 2 and a.shape[0] == b.shape[1]


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
