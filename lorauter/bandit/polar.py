"""POLAR (arXiv 2604.16583): a fast level that picks an arm for every request, a slow one that picks the cache.

Knows: scores, probes, epochs. Does not know: what an arm or a context stands for, where rewards come from.

Fast: the arm of the best cache-aware score (lorauter/bandit/arms). Slow: at an epoch's end, the cache that would have
served the epoch's contexts best (lorauter/bandit/cache_choice). POLAR has epochs of one length. POLAR+ doubles them
and probes: in every epoch each arm gets ⌈κ d ln T⌉ rewards or more, T the requests up to its end. Here probes are
spread over the epoch by chance, and rewards that an arm gets without a probe count too. So an arm's probability follows
from the state alone: answers may be made in any order, and their propensity is known.

Everything may have leading axes L, independent runs side by side, all at the same request.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, log

import numpy as np

from catalog.errors import SettingError
from lorauter.bandit.arms import Arms, Bools, Floats, Ints, scores
from lorauter.bandit.cache_choice import CacheProblem, choose_cache

MOST_CONTEXTS = 256
"""Contexts of an epoch that its cache is chosen by: evenly spread ones, where the epoch has more."""


@dataclass(frozen=True, slots=True)
class PolarOptions:
    """Constants.

    Args:
        size: K, arms that may be resident.
        beta: how much what is not known of an arm counts for it.
        ridge: of the regressions.
        first_epoch: requests of the first epoch.
        doubling: whether each epoch is twice the last one (POLAR+).
        kappa: of the probes; 0: none.
        penalty: whether the fast level takes off what a load costs.

    Raises:
        SettingError: one of them makes no sense.
    """

    size: int = 5
    beta: float = 1.0
    ridge: float = 1.0
    first_epoch: int = 256
    doubling: bool = True
    kappa: float = 0.05
    penalty: bool = True

    def __post_init__(self) -> None:
        if self.size < 1 or self.first_epoch < 1 or min(self.beta, self.kappa) < 0 or self.ridge <= 0:
            raise SettingError(
                f"size {self.size}, first_epoch {self.first_epoch}, beta {self.beta}, kappa {self.kappa} or ridge "
                f"{self.ridge} makes no sense.",
                "Use a size and a first_epoch of at least 1, a ridge above 0, beta and kappa of at least 0.",
            )


class Polar:
    """The policy with all that it has learned.

    Args:
        options: constants.
        arms: the regressions, (*L, N, d).
        costs: (N,), of a load, in units of reward, not negative.
        cached: (*L, N), whether an arm is resident.

    Attributes:
        epoch: number of the present epoch, from 0.
        seen: requests of the present epoch that were learned from.
        total: requests of all epochs.
        pulls: (*L, N), rewards that each arm got in the present epoch.
        contexts: of the present epoch, every `stride`-th, (*L, d) each.
        allowed: (N,), arms that may be chosen; the others are known, and wait.
    """

    def __init__(self, options: PolarOptions, arms: Arms, costs: Floats, cached: Bools) -> None:
        self.options, self.arms, self.costs, self.cached = options, arms, costs, cached
        self.epoch: int = 0
        self.seen: int = 0
        self.total: int = 0
        self.pulls: Ints = np.zeros(cached.shape, dtype=np.int64)
        self.contexts: list[Floats] = []
        self.allowed: Bools = np.ones(len(costs), dtype=np.bool_)

    @classmethod
    def fresh(cls, options: PolarOptions, costs: Floats, d: int, runs: tuple[int, ...] = ()) -> Polar:
        """A policy that has learned nothing; nothing is resident."""
        arms = Arms.fresh(len(costs), d, options.ridge, runs)
        return cls(options, arms, costs, np.zeros((*runs, len(costs)), dtype=np.bool_))

    @property
    def length(self) -> int:
        """Requests of the present epoch."""
        return int(self.options.first_epoch << (self.epoch if self.options.doubling else 0))

    @property
    def quota(self) -> int:
        """Rewards that each arm gets in the present epoch at least."""
        d = self.arms.b.shape[-1]
        return ceil(self.options.kappa * int(d) * log(self.total - self.seen + self.length + 1))

    def best(self, x: Floats) -> Ints:
        """(*L,), the arm of the best score in a context (*L, d); of equal ones the first."""
        costs = self.costs if self.options.penalty else np.zeros(len(self.costs))
        told = scores(self.arms, x, self.options.beta, costs, self.cached)
        return np.asarray(np.where(self.allowed, told, -np.inf).argmax(-1))

    def probe_shares(self) -> Floats:
        """(*L, N), the probability that a request probes an arm: what is left of its quota, spread over the epoch."""
        missing = np.maximum(self.quota - self.pulls, 0) * self.allowed
        left = np.maximum(missing.sum(-1, keepdims=True), max(self.length - self.seen, 1))
        return np.asarray(missing / left)

    def choose(self, x: Floats, draw: Floats) -> tuple[Ints, Floats]:
        """The arm of a request, and the probability that it was chosen.

        Args:
            x: (*L, d), the context.
            draw: (*L,), uniform in [0, 1): whether and what is probed.
        """
        shares, best = self.probe_shares(), self.best(x)
        ends = shares.cumsum(-1)
        probed = draw < ends[..., -1]
        drawn = np.minimum((draw[..., None] >= ends).sum(-1), shares.shape[-1] - 1)
        arm = np.where(probed, drawn, best)
        share = np.take_along_axis(shares, arm[..., None], -1)[..., 0]
        return arm, share + (1 - ends[..., -1]) * (arm == best)

    def learn(self, arm: Ints, x: Floats, reward: Floats) -> None:
        """Take the reward of a request, and choose the next cache where it ends the epoch. Args: as `Arms.learn`."""
        self.arms.learn(arm, x, reward)
        np.put_along_axis(self.pulls, arm[..., None], np.take_along_axis(self.pulls, arm[..., None], -1) + 1, -1)
        if self.seen % self.stride == 0:
            self.contexts.append(np.asarray(x, dtype=np.float64))
        self.seen += 1
        self.total += 1
        if self.seen >= self.length:
            self._end_epoch()

    @property
    def stride(self) -> int:
        """How far apart the contexts of the present epoch are that are kept."""
        return max(1, self.length // MOST_CONTEXTS)

    def _end_epoch(self) -> None:
        kept = np.stack(self.contexts)
        self.epoch += 1
        self.seen, self.contexts = 0, []
        self.pulls = np.zeros_like(self.pulls)
        values = np.einsum("...nd,s...d->...sn", self.arms.theta, kept)
        chosen = np.zeros_like(self.cached)
        for run in np.ndindex(*self.cached.shape[:-1]):
            chosen[run] = self._next_cache(values[run], self.cached[run])
        self.cached = chosen

    def _next_cache(self, values: Floats, before: Bools) -> Bools:
        may = self.allowed
        cache = np.zeros_like(before)
        problem = CacheProblem(values[:, may], self.costs[may], before[may], self.options.size, float(self.length))
        cache[may] = choose_cache(problem)
        return cache
