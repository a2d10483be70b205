"""Successive halving: which adapters of a task go on to the next rung. Pure functions, no torch, no tables.

Knows: the rule of LORAUTER (arXiv 2601.21795, code): each rung scores the survivors on fresh examples, scores
accumulate, the better half goes on. Does not know: how scores come about.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class HalvingOptions:
    """How a task's validation examples are spent.

    Args:
        rungs: fresh examples an adapter gets at each rung, while it survives.
        keep: share of adapters that goes on.
        least: never fewer go on to the next rung than this.
    """

    rungs: tuple[int, ...] = (3, 3, 6, 12)
    keep: float = 0.5
    least: int = 3


@dataclass(frozen=True, slots=True)
class Standing:
    """An adapter's cumulative mean over the examples it has seen, and whether the task declares it its own."""

    adapter: str
    mean: float
    declared: bool = False


def ranked(standings: Sequence[Standing]) -> list[Standing]:
    """Best first. Ties: the task's own adapter, then the key that sorts first, so that reruns agree."""
    return sorted(standings, key=lambda s: (-s.mean, not s.declared, s.adapter))


def next_rung(standings: Sequence[Standing], options: HalvingOptions) -> list[str]:
    """Keys of the adapters that go on, best first."""
    size = max(math.ceil(len(standings) * options.keep), min(options.least, len(standings)))
    return [standing.adapter for standing in ranked(standings)[:size]]
