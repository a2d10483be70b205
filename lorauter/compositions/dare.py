"""DARE (arXiv 2311.03099) as PEFT applies it: drop at random and rescale A and B apart, then `linear` or TIES' vote.

Knows: the steps, and which entries of which member are dropped: that depends on the seed, the member, the module and
the side alone, so a member is thinned alike in every merge. Does not know: torch's global random state, which PEFT
draws from. Dropping on A and on B each keeps the expected product: the two masks are independent.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from lorauter.adapters.weights import LoraPair
from lorauter.compositions.base import CompositionOptions, Merging
from lorauter.compositions.factors import Thin, merge_factors, weighted_sum
from lorauter.compositions.parts import Part
from lorauter.compositions.sign_election import elect_and_merge
from lorauter.compositions.thinning import drawn, drop_and_rescale


def dare_linear(options: CompositionOptions) -> Merging:
    """Needs one rank a module. Uses density and seed."""
    drop = _drop(options)

    def pair(parts: Sequence[Part]) -> LoraPair:
        return merge_factors(parts, drop, weighted_sum)

    return Merging("dare_linear", {"density": options.density, "seed": options.seed}, pair)


def dare_ties(options: CompositionOptions) -> Merging:
    """Needs one rank a module. Uses density, seed and majority."""
    drop, majority = _drop(options), options.majority

    def pair(parts: Sequence[Part]) -> LoraPair:
        return merge_factors(parts, drop, lambda tensors, weights: elect_and_merge(tensors, weights, majority))

    settings = {"density": options.density, "seed": options.seed, "majority": majority}
    return Merging("dare_ties", settings, pair)


def _drop(options: CompositionOptions) -> Thin:
    def drop(part: Part, side: str, tensor: torch.Tensor) -> torch.Tensor:
        keep = drawn(tensor.shape, options.density, options.seed, part.key, part.module, side)
        return drop_and_rescale(tensor, options.density, keep)

    return drop
