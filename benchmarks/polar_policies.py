"""The policies of the bandit's simulation: POLAR in its forms, and what it is held against.

Knows: which arm each takes and what it keeps resident. Does not know: worlds, regret.

All runs of a world go side by side. An arm that costs nothing to load, the base, takes no place in a cache.
LRU and LFU have one place more than POLAR's K: the memory that POLAR keeps free for what it loads for a request alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from benchmarks.polar_worlds import World, blocks
from lorauter.bandit.arms import Arms, Bools, Floats, Ints, scores
from lorauter.bandit.polar import Polar, PolarOptions

BETA = 1.0  # an arm that was never asked then beats any reward: θ is 0 at first, contexts are of length 1
FIRST_EPOCH = 256
FIXED_EPOCH = 200  # the paper's H
KAPPA = 0.05
EPSILON = 0.05


class Policy(Protocol):
    """Who serves the requests."""

    @property
    def cached(self) -> Bools:
        """(S, N), what is resident."""
        ...

    def choose(self, x: Floats, draw: Floats) -> Ints:
        """The arm of a request in each run."""
        ...

    def learn(self, arm: Ints, x: Floats, reward: Floats) -> Floats | float:
        """Take the rewards. Returns (S,), what loads cost that no request asked for."""
        ...


class PolarPolicy:
    """POLAR with options."""

    def __init__(self, world: World, options: PolarOptions) -> None:
        self.polar = Polar.fresh(options, world.costs, world.d, (world.seeds,))

    @property
    def cached(self) -> Bools:
        """As `Policy`."""
        return self.polar.cached

    def choose(self, x: Floats, draw: Floats) -> Ints:
        """As `Policy`."""
        return self.polar.choose(x, draw)[0]

    def learn(self, arm: Ints, x: Floats, reward: Floats) -> Floats | float:
        """As `Policy`."""
        before = self.polar.cached
        self.polar.learn(arm, x, reward)
        if self.polar.cached is before:
            return 0.0
        return np.asarray((self.polar.cached & ~before) @ self.polar.costs)


@dataclass(frozen=True, slots=True)
class Habit:
    """How a baseline routes and caches.

    Args:
        keeps: "lru", "lfu", or "random": K arms drawn once and kept.
        penalty: whether its score takes off what a load costs.
        resident_only: whether it takes resident arms alone.
        epsilon: share of requests that take any arm, in place of LinUCB's width.
    """

    keeps: str
    penalty: bool = False
    resident_only: bool = False
    epsilon: float = 0.0


class Baseline:
    """LinUCB, or epsilon-greedy, over a cache that follows a habit."""

    def __init__(self, world: World, habit: Habit) -> None:
        self._habit, self._costs = habit, world.costs
        self._size = world.size + (habit.keeps != "random")
        shape = world.seeds, len(world.costs)
        self._arms = Arms.fresh(shape[1], world.d, runs=(world.seeds,))
        self._runs, self._now = np.arange(world.seeds), 0
        self._worth = np.zeros(shape)  # of keeping an arm: when it was used last, or how often
        self.cached = np.zeros(shape, dtype=np.bool_)
        if habit.keeps == "random":
            ranks = np.random.default_rng(7).random(shape) + (world.costs == 0)
            self.cached = ranks.argsort(-1).argsort(-1) < world.size

    def choose(self, x: Floats, draw: Floats) -> Ints:
        """As `Policy`."""
        beta = 0.0 if self._habit.epsilon else BETA
        costs = self._costs if self._habit.penalty else np.zeros(len(self._costs))
        told = scores(self._arms, x, beta, costs, self.cached)
        if self._habit.resident_only:
            told = np.where(self.cached | (self._costs == 0), told, -np.inf)
        best = told.argmax(-1)
        anyone = np.minimum(draw / max(self._habit.epsilon, 1e-9) * told.shape[-1], told.shape[-1] - 1)
        return np.asarray(np.where(draw < self._habit.epsilon, anyone.astype(np.int64), best))

    def learn(self, arm: Ints, x: Floats, reward: Floats) -> Floats | float:
        """As `Policy`."""
        self._arms.learn(arm, x, reward)
        self._now += 1
        if self._habit.keeps == "random":
            return 0.0
        self._worth[self._runs, arm] = self._now if self._habit.keeps == "lru" else self._worth[self._runs, arm] + 1
        self.cached = kept_with(self.cached, arm, self._worth, self._costs, self._size)
        return 0.0


class Belady:
    """Who knows every θ and every request to come: takes the best arm whatever it costs, drops what is needed last."""

    def __init__(self, world: World) -> None:
        self._costs, self._size = world.costs, world.size + 1
        self._arms = np.concatenate([block.known.argmax(-1) for _, block in blocks(world)])
        self._next = np.empty(self._arms.shape, dtype=np.float64)
        following = np.full((world.seeds, len(world.costs)), np.inf)
        self._runs, self._now = np.arange(world.seeds), 0
        for at in range(len(self._arms) - 1, -1, -1):
            self._next[at] = following[self._runs, self._arms[at]]
            following[self._runs, self._arms[at]] = at
        self._nearness = np.full(following.shape, -np.inf)
        self.cached = np.zeros(following.shape, dtype=np.bool_)

    def choose(self, x: Floats, draw: Floats) -> Ints:
        """As `Policy`."""
        return np.asarray(self._arms[self._now])

    def learn(self, arm: Ints, x: Floats, reward: Floats) -> Floats | float:
        """As `Policy`."""
        self._nearness[self._runs, arm] = -self._next[self._now]
        self._now += 1
        self.cached = kept_with(self.cached, arm, self._nearness, self._costs, self._size)
        return 0.0


def kept_with(cached: Bools, arm: Ints, worth: Floats, costs: Floats, size: int) -> Bools:
    """The cache after an arm was used: it is kept, and the one least worth keeping goes where there are too many."""
    runs = np.arange(len(arm))
    kept = cached.copy()
    kept[runs, arm] |= costs[arm] > 0
    full = kept.sum(-1) > size
    others = np.where(kept, worth, np.inf)
    others[runs, arm] = np.inf  # it has just been loaded
    kept[runs[full], others.argmin(-1)[full]] = False
    return kept


def _options(world: World, **changed: object) -> PolarOptions:
    chosen = {"size": world.size, "beta": BETA, "first_epoch": FIRST_EPOCH, "kappa": KAPPA, **changed}
    return PolarOptions(**chosen)  # type: ignore[arg-type]


POLICIES: Mapping[str, Callable[[World], Policy]] = {
    "POLAR+": lambda world: PolarPolicy(world, _options(world)),
    "POLAR": lambda world: PolarPolicy(world, _options(world, first_epoch=FIXED_EPOCH, doubling=False, kappa=0.0)),
    "POLAR+ without probes": lambda world: PolarPolicy(world, _options(world, kappa=0.0)),
    "POLAR+ without penalty": lambda world: PolarPolicy(world, _options(world, penalty=False)),
    "LinUCB + LRU": lambda world: Baseline(world, Habit("lru")),
    "LinUCB + LFU": lambda world: Baseline(world, Habit("lfu")),
    "cache-aware LinUCB + LRU": lambda world: Baseline(world, Habit("lru", penalty=True)),
    "epsilon-greedy + LRU": lambda world: Baseline(world, Habit("lru", epsilon=EPSILON)),
    "LinUCB + random cache": lambda world: Baseline(world, Habit("random")),
    "resident-only LinUCB": lambda world: Baseline(world, Habit("random", resident_only=True)),
    "Belady, θ known": Belady,
}
