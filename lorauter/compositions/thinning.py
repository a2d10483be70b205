"""Thinning: setting the entries of a tensor to 0, the smallest ones or random ones.

Knows: one tensor at a time. Does not know: members, weights, merges.
"""

from __future__ import annotations

import torch

from catalog.tasks.task import content_hash


def keep_largest(tensor: torch.Tensor, density: float) -> torch.Tensor:
    """Trims to the ⌊density · entries⌋ largest magnitudes (TIES, arXiv 2306.01708, "trim"; PEFT rounds so too)."""
    kept = torch.zeros_like(tensor).flatten()
    largest = tensor.abs().flatten().topk(int(density * tensor.numel())).indices
    kept[largest] = tensor.flatten()[largest]
    return kept.view_as(tensor)


def drop_and_rescale(tensor: torch.Tensor, density: float, keep: torch.Tensor) -> torch.Tensor:
    """DARE (arXiv 2311.03099), drop rate p = 1 - density: dropped entries are 0, kept ones divided by 1 - p.

    Args:
        keep: bool, the tensor's shape; see `drawn`.
    """
    return tensor * keep / density


def drawn(shape: torch.Size, density: float, *names: object) -> torch.Tensor:
    """A bool tensor whose entries are True with probability `density`, a function of its arguments alone.

    The generator is seeded by a hash of `names`, so neither the order of the work nor torch's own state plays a part.
    """
    generator = torch.Generator().manual_seed(int(content_hash(names), 16) >> 1)
    return torch.rand(shape, generator=generator) < density
