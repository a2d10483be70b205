"""TIES (arXiv 2306.01708) as PEFT applies it: trim, elect signs, disjoint mean, for A and B apart.

Knows: the three steps. Does not know: the rest. The paper merges whole task vectors ΔW; here, as in PEFT, the steps
are taken on the factors, which keeps the rank and adds cross terms.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from lorauter.adapters.weights import LoraPair
from lorauter.compositions.base import CompositionOptions, Merging
from lorauter.compositions.factors import merge_factors
from lorauter.compositions.parts import Part
from lorauter.compositions.sign_election import elect_and_merge
from lorauter.compositions.thinning import keep_largest


def ties(options: CompositionOptions) -> Merging:
    """Needs one rank a module. Uses density and majority."""
    density, majority = options.density, options.majority

    def trim(part: Part, side: str, tensor: torch.Tensor) -> torch.Tensor:
        return keep_largest(tensor, density)

    def pair(parts: Sequence[Part]) -> LoraPair:
        return merge_factors(parts, trim, lambda tensors, weights: elect_and_merge(tensors, weights, majority))

    return Merging("ties", {"density": density, "majority": majority}, pair)
