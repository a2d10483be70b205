"""The worlds of the bandit's simulation: requests, what every arm is worth for each, what loads cost.

Knows: setting P (made up) and setting R (the study's outcomes). Does not know: policies.

A world is many runs side by side, one a seed. Requests come in blocks, each made from its own seed, so that a world of
any length needs little memory and every policy meets the same requests, draws and noise.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from benchmarks.study_outcomes import Outcomes, read_outcomes
from lorauter.bandit.arms import Bools, Floats, Ints
from lorauter.bandit.cache_choice import CacheProblem

BLOCK = 2048
MEAN_COST = 0.1
"""What a load costs on average, in units of reward; the base costs nothing."""
_JUDGES = 512  # requests that the best fixed cache is chosen by


@dataclass(frozen=True, slots=True)
class Block:
    """Requests in a row.

    Args:
        contexts: (n, S, d).
        worth: (n, S, N), the expected reward of every arm.
        known: (n, S, N), the same as who knows every θ thinks.
        noise: (n, S), added to the reward of whatever arm is chosen.
        draws: (n, S), uniform in [0, 1).
    """

    contexts: Floats
    worth: Floats
    known: Floats
    noise: Floats
    draws: Floats


class World(Protocol):
    """A setting with its runs."""

    name: str
    requests: int
    seeds: int
    size: int
    costs: Floats
    d: int

    def block(self, start: int, count: int) -> Block:
        """`count` requests from `start` on."""
        ...


def blocks(world: World) -> Iterator[tuple[int, Block]]:
    """All requests of a world with the number of each block's first."""
    for start in range(0, world.requests, BLOCK):
        yield start, world.block(start, min(BLOCK, world.requests - start))


def best_fixed(world: World) -> Bools:
    """(S, N), each run's best fixed cache when every θ is known: of all caches, for requests from the whole run."""
    every = max(1, world.requests // _JUDGES)
    known = np.concatenate([block.known[(-start) % every :: every] for start, block in blocks(world)])
    nothing = np.zeros(len(world.costs), dtype=np.bool_)
    horizon = float(world.requests)
    return np.stack(
        [CacheProblem(of, world.costs, nothing, world.size, horizon).exact() for of in known.swapaxes(0, 1)]
    )


def zipf(tasks: int, exponent: float) -> Floats:
    """Shares of tasks by rank."""
    shares = np.arange(1, tasks + 1) ** -exponent
    return np.asarray(shares / shares.sum())


class Synthetic:
    """Setting P: 15 adapters and the base, 15 tasks by Zipf's law; each adapter is made for one of them.

    A context is a direction near the task's, in 4 dimensions, and a constant. An adapter's worth grows with the cosine
    to its own task's direction; the base is worth the same everywhere. Loads are drawn from the paper's range.
    """

    adapters = 15
    d = 5
    size = 5

    def __init__(self, name: str, requests: int, seeds: int, exponent: float, noise: float = 0.1) -> None:
        self.name, self.requests, self.seeds = name, requests, seeds
        self._shares, self._noise = zipf(self.adapters, exponent), noise
        rng = np.random.default_rng(1604)
        directions = rng.normal(size=(seeds, self.adapters, self.d - 1))
        self._directions = directions / np.linalg.norm(directions, axis=-1, keepdims=True)
        levels = rng.uniform(0.25, 0.35, size=(seeds, self.adapters, 1))
        of_adapters = np.concatenate([0.5 * self._directions, levels], axis=-1)
        of_base = np.broadcast_to(np.array([0.0] * (self.d - 1) + [0.45]), (seeds, 1, self.d))
        self._theta = np.sqrt(2) * np.concatenate([of_base, of_adapters], axis=1)
        loads = rng.uniform(291, 1263, size=self.adapters)
        self.costs: Floats = np.concatenate([[0.0], MEAN_COST * loads / loads.mean()])

    def block(self, start: int, count: int) -> Block:
        """As `World`."""
        rng = np.random.default_rng([1, start])
        tasks = rng.choice(self.adapters, size=(count, self.seeds), p=self._shares)
        near = self._directions[np.arange(self.seeds), tasks] + 0.25 * rng.normal(size=(count, self.seeds, self.d - 1))
        near /= np.linalg.norm(near, axis=-1, keepdims=True)
        x = np.concatenate([near, np.ones((count, self.seeds, 1))], axis=-1) / np.sqrt(2)
        worth = np.einsum("snd,tsd->tsn", self._theta, x)
        noise = self._noise * rng.normal(size=(count, self.seeds))
        return Block(x, worth, worth, noise, rng.random((count, self.seeds)))


class Measured:
    """Setting R: the study's 62 adapters and the base on the examples of its four tasks, as they were scored.

    A request is an example, its reward what the chosen adapter scored on it: there is no noise to add. No θ is behind
    these scores; who "knows" it has the ridge regression on all of them.

    Args:
        drift: whether the tasks' popularity is turned round in the middle.
    """

    size = 3

    def __init__(self, name: str, requests: int, seeds: int, folder: Path, exponent: float = 1.2, drift: bool = False):
        self.name, self.requests, self.seeds, self._drift = name, requests, seeds, drift
        self._outcomes = read_outcomes(folder)
        told = json.loads((folder / "contexts.json").read_text(encoding="utf-8"))
        loads = np.array([told["loads_ms"].get(adapter, 0.0) for adapter in self._outcomes.adapters])
        self.costs: Floats = MEAN_COST * loads / loads[loads > 0].mean()
        self._x = _contexts(self._outcomes, told["contexts"], folder)
        self.d = self._x.shape[-1]
        tasks = len(self._outcomes.tasks)
        order = np.random.default_rng(2604).permuted(np.tile(np.arange(tasks), (seeds, 1)), axis=1)
        self._order, self._shares = order, zipf(tasks, exponent)

    @cached_property
    def _known(self) -> Floats:
        """(tasks, examples, N), the regression's values."""
        x = self._x.reshape(-1, self.d)
        y = self._outcomes.scores.transpose(0, 2, 1).reshape(len(x), -1)
        theta = np.linalg.solve(np.eye(self.d) + x.T @ x, x.T @ y)
        return np.asarray((x @ theta).reshape(*self._x.shape[:2], -1))

    def block(self, start: int, count: int) -> Block:
        """As `World`."""
        rng = np.random.default_rng([2, start])
        ranks = rng.choice(len(self._shares), size=(count, self.seeds), p=self._shares)
        late = np.arange(start, start + count)[:, None] >= self.requests // 2
        ranks = np.where(late & self._drift, len(self._shares) - 1 - ranks, ranks)
        tasks: Ints = self._order[np.arange(self.seeds), ranks]
        examples = rng.integers(self._x.shape[1], size=tasks.shape)
        worth = self._outcomes.scores[tasks, :, examples]
        nothing = np.zeros(tasks.shape)
        return Block(self._x[tasks, examples], worth, self._known[tasks, examples], nothing, rng.random(tasks.shape))


def _contexts(outcomes: Outcomes, told: dict[str, dict[str, list[float]]], folder: Path) -> Floats:
    """(tasks, examples, d): coordinates and a constant, of length 1, in the outcomes' order of examples."""
    rows = [[told[task][example] for example in examples] for task, examples in _examples(outcomes, folder).items()]
    found: npt.NDArray[np.float64] = np.array(rows)
    return np.asarray(np.concatenate([found, np.ones((*found.shape[:2], 1))], axis=-1) / np.sqrt(2))


def _examples(outcomes: Outcomes, folder: Path) -> dict[str, list[str]]:
    """Task → ids of its examples, in the outcomes' order."""
    from warehouse.storage.files import read_table

    table = read_table(folder / "outcomes.parquet", ["task", "example"])
    pairs = set(zip(table["task"].to_pylist(), table["example"].to_pylist(), strict=True))
    return {task: sorted(example for owner, example in pairs if owner == task) for task in outcomes.tasks}
