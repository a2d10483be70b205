"""Strategies: which evaluations to run next, given the results so far. Pure functions, no torch, no tables.

Knows: the protocol that every strategy keeps. Does not know: any strategy; how scores come about.

The adapters of a task meet its examples in one order that they share, so results are always those of the first
n examples of that order, and any two adapters can be compared on the same ones. A strategy says how many each
adapter should have met; it keeps no state of its own, so a run that was killed, or a pool that has grown, goes on
from whatever is known:

    seen = nothing_seen(problem)
    while (step := strategy.next(problem, seen)).wants_more(seen):
        ...                                                         # evaluate evaluations(step, seen), fill in seen
    picks = step.picks
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
Why = Callable[[int, int], str]
"""(task, adapter) → why it gets no further evaluation."""


@dataclass(frozen=True, slots=True)
class Problem:
    """What is to be decided: the best of `adapters` adapters for each task.

    Args:
        room: (tasks,) how many selection examples each task has.
        adapters: how many adapters there are, the base among them where it may be picked.
        card_likeness: (tasks, adapters) how much the adapter's text resembles the task; None where unknown.
        settled: (tasks, adapters) who has been through an earlier run: it meets further examples only as the leader
            that a newcomer has caught up with; None where nobody has.
    """

    room: Counts
    adapters: int
    card_likeness: Floats | None = None
    settled: Mask | None = None

    @property
    def tasks(self) -> int:
        """How many tasks there are."""
        return len(self.room)

    @property
    def open(self) -> Mask:
        """(tasks, adapters) who may ask for examples: all that are not settled."""
        return np.ones((self.tasks, self.adapters), dtype=np.bool_) if self.settled is None else ~self.settled


@dataclass(frozen=True, slots=True)
class Seen:
    """The results so far.

    Args:
        scores: (tasks, adapters, examples) in the task's shared order. What lies beyond `counts` is not to be read.
        counts: (tasks, adapters) how many examples, from the first on, are known.
    """

    scores: Floats
    counts: Counts

    @property
    def readable(self) -> Mask:
        """Which scores may be read: (tasks, adapters, examples)."""
        return np.arange(self.scores.shape[2]) < self.counts[:, :, None]

    @property
    def means(self) -> Floats:
        """Cumulative mean of every adapter on every task; 0 where nothing is known."""
        totals = np.where(self.readable, self.scores, 0.0).sum(axis=2)
        return np.asarray(totals / np.maximum(self.counts, 1))


@dataclass(frozen=True, slots=True)
class Step:
    """What a strategy says.

    Args:
        counts: (tasks, adapters) how many examples each adapter should have met before it is asked again.
        picks: (tasks,) the adapter it would name now; final once it wants no more.
        why: the reason, in words, why an adapter meets no further example of a task.
    """

    counts: Counts
    picks: Counts
    why: Why

    def wants_more(self, seen: Seen) -> bool:
        """Whether evaluations are missing."""
        return bool((self.counts > seen.counts).any())


class Strategy(Protocol):
    """Anything that names the next evaluations until it wants no more."""

    @property
    def name(self) -> str:
        """Name with its settings, for tables."""

    @property
    def reads_likeness(self) -> bool:
        """Whether `Problem.card_likeness` changes anything."""

    def next(self, problem: Problem, seen: Seen) -> Step:
        """What is wanted next; a pure function."""


def nothing_seen(problem: Problem) -> Seen:
    """The results before the first evaluation."""
    shape = (problem.tasks, problem.adapters)
    longest = int(problem.room.max(initial=0))
    return Seen(np.zeros((*shape, longest)), np.zeros(shape, dtype=np.int64))


def evaluations(step: Step, seen: Seen) -> Iterator[tuple[int, int, int]]:
    """(task, adapter, place in the task's order) of every evaluation that is missing."""
    for task, adapter in np.argwhere(step.counts > seen.counts).tolist():
        for place in range(int(seen.counts[task, adapter]), int(step.counts[task, adapter])):
            yield task, adapter, place


def with_scores(seen: Seen, step: Step, scores: Mapping[tuple[int, int, int], float]) -> Seen:
    """The results after a step: `scores` holds one for each of its `evaluations`."""
    values = seen.scores.copy()
    for place, score in scores.items():
        values[place] = score
    return Seen(values, np.maximum(step.counts, seen.counts))


def without(problem: Problem, seen: Seen, adapters: Collection[int]) -> tuple[Problem, Seen]:
    """The same race as if these adapters had never been in it."""
    columns = [a for a in range(problem.adapters) if a not in adapters]
    return replace(
        problem,
        adapters=len(columns),
        card_likeness=None if problem.card_likeness is None else problem.card_likeness[:, columns],
        settled=None if problem.settled is None else problem.settled[:, columns],
    ), Seen(seen.scores[:, columns], seen.counts[:, columns])


def first_best(values: Floats) -> Counts:
    """Index of each row's largest value; of equal ones the first, so that reruns agree."""
    return np.asarray(values.argmax(axis=1), dtype=np.int64)
