"""The cache of the next epoch: which K arms to keep resident, given what the last contexts were worth.

Knows: values of arms in contexts, costs, the present cache. Does not know: how values are estimated, who loads.

    max over |C| = K of  mean_s max_a (value_sa − c_a · 1[a ∉ C])  −  Σ over a ∈ C ∖ C_before of c_a / H

As costs are not negative, the inner maximum is that of the cached arms' values and of all arms' values less their
costs. So the first term is a facility location: submodular, monotone. All caches are compared where they are few, else
the greedy choice is made, arm by arm.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import comb

import numpy as np

from lorauter.bandit.arms import Bools, Floats, Ints

MOST_CACHES = 5_000
"""Caches that are compared one by one; where there are more, the choice is greedy."""


@dataclass(frozen=True, slots=True)
class CacheProblem:
    """What a cache is chosen by.

    Args:
        values: (contexts, N), what each arm is worth in each context.
        costs: (N,), of loading an arm, not negative.
        before: (N,), whether an arm is resident now.
        size: K, arms that may be resident; all N where there are fewer.
        horizon: H, requests over which a load is paid off.
    """

    values: Floats
    costs: Floats
    before: Bools
    size: int
    horizon: float

    def worth(self, cache: Bools) -> float:
        """The objective of one cache (N,)."""
        served = np.maximum(self._loaded, np.where(cache, self.values, -np.inf).max(axis=1, initial=-np.inf))
        return float(served.mean() - self._fees[cache].sum())

    @property
    def _loaded(self) -> Floats:
        """(contexts,), the best that is to be had by a load for this request alone."""
        return np.asarray((self.values - self.costs).max(axis=1))

    @property
    def _fees(self) -> Floats:
        return np.where(self.before, 0.0, self.costs) / self.horizon

    def exact(self) -> Bools:
        """The best cache; of equal ones the first in lexical order."""
        count = len(self.costs)
        size = min(self.size, count)
        best = self._loaded[None]
        for parents, lasts in _levels(count, size):
            best = np.maximum(best[parents], self.values.T[lasts])
        members = _members(count, size)
        worth = best.mean(axis=1) - self._fees[members].sum(axis=1)
        return _mask(members[int(worth.argmax())], count)

    def greedy(self) -> Bools:
        """The cache that grows by the arm of the largest gain, K times; of equal gains the first arm."""
        cache = np.zeros(len(self.costs), dtype=np.bool_)
        served, fees = self._loaded, self._fees
        for _arm in range(min(self.size, len(cache))):
            gains = np.maximum(self.values, served[:, None]).mean(axis=0) - served.mean() - fees
            best = int(np.where(cache, -np.inf, gains).argmax())
            cache[best] = True
            served = np.maximum(served, self.values[:, best])
        return cache


def choose_cache(problem: CacheProblem) -> Bools:
    """The next cache (N,): the best one where all can be compared, else the greedy one."""
    count = len(problem.costs)
    few = comb(count, min(problem.size, count)) <= MOST_CACHES
    return problem.exact() if few else problem.greedy()


@lru_cache(maxsize=8)
def _levels(count: int, size: int) -> tuple[tuple[Ints, Ints], ...]:
    """How the subsets of each size come from those of one less: places of the shorter ones, and the arm added."""
    lasts = np.full(1, -1, dtype=np.int64)
    levels = []
    for _level in range(size):
        follow = count - 1 - lasts
        parents = np.repeat(np.arange(len(lasts)), follow)
        starts = np.repeat(np.cumsum(follow) - follow, follow)
        lasts = lasts[parents] + 1 + np.arange(len(parents)) - starts
        levels.append((parents, lasts))
    return tuple(levels)


@lru_cache(maxsize=8)
def _members(count: int, size: int) -> Ints:
    """(subsets, size), the arms of each in the order of the last level."""
    members = np.zeros((1, 0), dtype=np.int64)
    for parents, lasts in _levels(count, size):
        members = np.concatenate([members[parents], lasts[:, None]], axis=1)
    return members


def _mask(members: Ints, count: int) -> Bools:
    mask = np.zeros(count, dtype=np.bool_)
    mask[members] = True
    return mask
