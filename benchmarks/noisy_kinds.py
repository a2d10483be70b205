"""What spoils an adapter without training: noise on its weights, and a mixture of two adapters.

Knows: tensors by name and the configs that go with them. Does not know: tasks, repos, which adapters a pool has.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from lorauter.adapters.weights import PREFIX, AdapterWeights, LoraPair, weights_of

Tensors = Mapping[str, torch.Tensor]


def perturbed(tensors: Tensors, share: float, seed: int) -> dict[str, torch.Tensor]:
    """Every tensor plus Gaussian noise whose Frobenius norm is `share` of the tensor's own; dtypes and shapes stay.

    Noise of one seed is drawn in the order of the names, in float32.
    """
    generator = torch.Generator().manual_seed(seed)
    return {name: _with_noise(tensors[name], share, generator) for name in sorted(tensors)}


def _with_noise(tensor: torch.Tensor, share: float, generator: torch.Generator) -> torch.Tensor:
    noise = torch.randn(tensor.shape, generator=generator)
    wide = tensor.float()
    scale = share * torch.linalg.norm(wide) / torch.linalg.norm(noise)
    return torch.add(wide, noise * scale).to(tensor.dtype)


def interpolated(
    first: tuple[Mapping[str, Any], Tensors], second: tuple[Mapping[str, Any], Tensors], alpha: float
) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """The adapter of ΔW = α·ΔW₁ + (1 − α)·ΔW₂, as config and tensors.

    By concatenation, with all factors on B: A = [A₁; A₂], B = [α s₁ B₁, (1 − α) s₂ B₂], scaling 1, rank r₁ + r₂. That
    is exact up to the rounding of B to the first's dtype, while mixing the factors, α A₁ + (1 − α) A₂ and so with B,
    gives another ΔW.

    Args:
        first, second: PEFT config and tensors (r, d_in), (d_out, r) by their names in the file.

    Raises:
        ValueError: the two adapt other modules, one is a DoRA, or the rank differs from module to module.
    """
    pairs = [weights_of(config, tensors) for config, tensors in (first, second)]
    _refuse_unlike(*pairs)
    merged = {
        name: _joined(one, pairs[1].modules[name], alpha, next(iter(first[1].values())).dtype)
        for name, one in sorted(pairs[0].modules.items())
    }
    ranks = {a.shape[0] for a, _ in merged.values()}
    if len(ranks) != 1:
        raise ValueError(f"ranks differ from module to module: {sorted(ranks)}")
    rank = ranks.pop()
    config = {**first[0], "r": rank, "lora_alpha": rank, "use_rslora": False, "rank_pattern": {}, "alpha_pattern": {}}
    tensors = {}
    for name, (a, b) in merged.items():
        tensors[f"{PREFIX}{name}.lora_A.weight"], tensors[f"{PREFIX}{name}.lora_B.weight"] = a, b
    return config, tensors


def _refuse_unlike(first: AdapterWeights, second: AdapterWeights) -> None:
    if first.modules.keys() != second.modules.keys():
        raise ValueError("the two adapters adapt other modules")
    if any(pair.magnitude is not None for one in (first, second) for pair in one.modules.values()):
        raise ValueError("a DoRA has no ΔW that adds up")


def _joined(first: LoraPair, second: LoraPair, alpha: float, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    weights = (alpha * first.scaling, (1 - alpha) * second.scaling)
    a = torch.cat([first.a, second.a])
    b = torch.cat([weight * pair.b.float() for weight, pair in zip(weights, (first, second), strict=True)], dim=1)
    return a.to(dtype).contiguous(), b.to(dtype).contiguous()
