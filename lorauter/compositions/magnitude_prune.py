"""Magnitude prune, PEFT's: every member's A and B lose their smallest entries, then `linear`.

Knows: the two steps. Does not know: the rest. One of the four merges of arXiv 2602.21222.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from lorauter.adapters.weights import LoraPair
from lorauter.compositions.base import CompositionOptions, Merging
from lorauter.compositions.factors import merge_factors, weighted_sum
from lorauter.compositions.parts import Part
from lorauter.compositions.thinning import keep_largest


def magnitude_prune(options: CompositionOptions) -> Merging:
    """Needs one rank a module. Uses density."""
    density = options.density

    def trim(part: Part, side: str, tensor: torch.Tensor) -> torch.Tensor:
        return keep_largest(tensor, density)

    def pair(parts: Sequence[Part]) -> LoraPair:
        return merge_factors(parts, trim, weighted_sum)

    return Merging("magnitude_prune", {"density": density}, pair)
