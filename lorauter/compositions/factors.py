"""Merges that treat A and B apart, as PEFT's do: A' = f(√|ws| · sign, A's), B' = f(√|ws|, B's).

Knows: how PEFT 0.21 splits a member's weight w and scaling s over its two factors. Does not know: f.

With one member B'A' = w·ΔW. With several the product has cross terms B_i A_j between adapters that were never trained
together: it is not Σ w ΔW, however f combines. The sign of w·s goes to A alone, or it would cancel.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch

from lorauter.adapters.weights import LoraPair
from lorauter.compositions.parts import Part, one_rank

Combine = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""Members' tensors (n, …) and their weights (n, 1, 1) → one tensor (…)."""
Thin = Callable[[Part, str, torch.Tensor], torch.Tensor]
"""A part, its side "a" or "b" and the tensor there → the tensor with some of its entries set to 0."""


def merge_factors(parts: Sequence[Part], thin: Thin, combine: Combine) -> LoraPair:
    """Thins every member's A and B, then combines the A's and the B's.

    Raises:
        UnsupportedAdapter: the parts' ranks are not equal.
    """
    one_rank(parts)
    scales = [part.weight * part.scaling for part in parts]
    roots = torch.tensor([math.sqrt(abs(scale)) for scale in scales])
    signs = torch.tensor([math.copysign(1.0, scale) for scale in scales])
    a = torch.stack([thin(part, "a", part.a) for part in parts])
    b = torch.stack([thin(part, "b", part.b) for part in parts])
    return LoraPair(combine(a, (roots * signs)[:, None, None]), combine(b, roots[:, None, None]), 1.0)


def weighted_sum(tensors: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Task arithmetic (arXiv 2212.04089): Σ w t over the first dimension."""
    return (tensors * weights).sum(0)


def untouched(part: Part, side: str, tensor: torch.Tensor) -> torch.Tensor:
    """Keeps every entry."""
    return tensor
