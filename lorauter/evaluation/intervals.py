"""Intervals of means over items: a paired bootstrap, stratified by task.

Knows: draws and percentiles. Does not know: what is averaged, or what it is divided by.

A draw takes as many items of each task as there are, with replacement, the same ones for every system and every
setting: what two systems find hard alike cancels from their difference. Tasks are not drawn: an interval speaks about
further items of these tasks, not about further tasks.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lorauter.evaluation.shares import Array

DRAWS = 2000
LEVEL = 0.95
SEED = 0


def drawn_means(scores: Sequence[Array], draws: int = DRAWS, seed: int = SEED) -> Array:
    """Task means in each draw, (systems, tasks, draws), from each task's scores (systems, items)."""
    rng = np.random.default_rng(seed)
    return np.stack([_drawn(one, rng, draws) for one in scores], axis=1)


def interval(drawn: Array, level: float = LEVEL) -> tuple[Array, Array]:
    """Lower and upper bound over the last axis, by percentiles; draws that are nan are left out."""
    tails = [(1 - level) / 2, (1 + level) / 2]
    known = ~np.isnan(drawn).all(axis=-1)
    bounds = np.full((2, *drawn.shape[:-1]), np.nan)
    bounds[:, known] = np.nanquantile(drawn[known], tails, axis=-1)
    return bounds[0], bounds[1]


def _drawn(scores: Array, rng: np.random.Generator, draws: int) -> Array:
    """How often each item is drawn says the same as which ones are, and makes means a product: (systems, draws)."""
    items = scores.shape[1]
    counts = rng.multinomial(items, np.full(items, 1 / items), size=draws)
    return np.asarray(scores @ counts.T / items, dtype=np.float64)
