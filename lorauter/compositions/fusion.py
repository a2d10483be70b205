"""Fusion: (Σ w B)(Σ w A), LoraRetriever's (arXiv 2402.09997, section 4.2): the parameters are averaged, not outputs.

Knows: that B carries the scaling here, B = sB, as the engine holds it; the paper's adapters share one scaling, where
it makes no difference. Does not know: PEFT's `linear`, which takes the roots of w.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from lorauter.adapters.weights import LoraPair
from lorauter.compositions.base import Composed, Merging
from lorauter.compositions.parts import Part, one_rank
from lorauter.routing.routes import Mixture


class Fusion(Merging):
    """Needs one rank a module. A module that one member alone touches has w² ΔW, and so has a route of one member."""

    __slots__ = ()

    def compose(self, mixture: Mixture) -> Composed:
        """One new adapter; a single member keeps its own, with weight w²."""
        composed = Merging.compose(self, mixture)
        return composed if composed.merge else Composed(tuple((key, weight**2) for key, weight in composed.mixture))


def fusion() -> Fusion:
    """LoraRetriever uses w = 1/k for each of k adapters."""
    return Fusion("fusion", {}, _pair)


def _pair(parts: Sequence[Part]) -> LoraPair:
    one_rank(parts)
    a = torch.stack([part.weight * part.a for part in parts]).sum(0)
    b = torch.stack([part.weight * part.scaling * part.b for part in parts]).sum(0)
    return LoraPair(a, b, 1.0)
