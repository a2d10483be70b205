"""Concatenation: the output mixture written as one adapter of rank Σr (PEFT's `cat`).

Knows: B' = [w₁s₁B₁ … w_n s_n B_n], A' = [A₁; …; A_n], so B'A' = Σ w_a s_a B_a A_a exactly. Does not know: the rest.

PEFT puts w·s on A and pads every module to the sum of the largest ranks; the product is the same.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from lorauter.adapters.weights import LoraPair
from lorauter.compositions.base import Merging
from lorauter.compositions.parts import Part


def cat() -> Merging:
    """Exact for any mix of ranks, targets, scalings and signs."""
    return Merging("cat", {}, _joined)


def _joined(parts: Sequence[Part]) -> LoraPair:
    b = torch.cat([part.weight * part.scaling * part.b for part in parts], dim=1)
    return LoraPair(torch.cat([part.a for part in parts]), b, 1.0)
