"""PEFT's `linear`: (Σ √(w s) B)(Σ √(w s) A), and NOT the weighted sum of the ΔWs, for which there is mixture or cat.

Knows: nothing but which two steps it is made of. Does not know: the rest.
"""

from __future__ import annotations

from lorauter.compositions.base import Merging
from lorauter.compositions.factors import merge_factors, untouched, weighted_sum


def linear() -> Merging:
    """Needs one rank a module. Its ΔW is off the mixture's by about 100% for two random adapters."""
    return Merging("linear", {}, lambda parts: merge_factors(parts, untouched, weighted_sum))
