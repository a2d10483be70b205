"""Formats: which prompt format each adapter races in, found with few evaluations before the race.

Knows: the formats of one adapter against each other, on examples that the race would ask for anyway. Does not know:
other adapters, strategies, where formats come from (catalog/formats/detect).

A format is a property of the adapter: it is what its weights were trained on. So its formats are compared pooled over
tasks, and only the best races. Evidence comes first: what the repo surely says holds the place, and the task's own
template has to take it. For an adapter asked wrongly is mostly silent, and a comparison of silences says nothing.

A trial stays on the task that the adapter's card resembles most while some format scores there, and goes on to the next
one where none does. On the examples that two formats have met, S is the sum of the differences of their metrics and Q
the sum of their squares; √Q is the standard error of S where neither is better. A format that is 2 √Q behind is out,
and √Q behind the one that holds the place after a few examples. One that is left when the examples are spent takes the
place only where it leads by more than √Q: one example never decides, two that agree do. Formats that score the same on
a few examples are alike.

The base is no adapter, and nobody trained it on a task: it is asked by whoever compares with it, so it takes the best
format of each task, and its place is the task's own template's.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from catalog.formats.filled import FilledFormat
from catalog.tasks.answer import Failed
from lorauter.racing.evaluation import BASE, Evaluate, Evaluation
from lorauter.racing.strategies.base import Floats
from lorauter.racing.view import RungView

MOST = 3  # formats of one adapter, the task's own among them
SHARE = 0.15  # of an adapter's evaluations under one template: what its other formats may cost
RACE = 0.15  # of all its examples are what an adapter meets in a race, as measured on 63 adapters and 4 tasks
FIRST = 2  # examples that every adapter meets of every task in a race
LEAST = 4  # fewer pairs than this tell nothing
ALIKE = 6  # pairs that score, and score the same: nothing is left to find
OF_BASE = 4  # pairs of a task that choose the base's format
OUT, AHEAD = 2.0, 1.0  # standard errors

Asked = Mapping[tuple[str, str], FilledFormat]
"""(task, adapter) → the format it is asked in; the task's own where there is none."""
Arm = FilledFormat | None
"""A format; None: the task's own."""


@dataclass(frozen=True)
class Chosen:
    """Which formats the race is run in.

    Args:
        asked: of each task and adapter, BASE among them.
        cells: every evaluation that chose.
    """

    asked: Asked = field(default_factory=dict)
    cells: tuple[Evaluation, ...] = ()


class _Trial:
    """The formats of one adapter on the same examples.

    Args:
        adapter: its key.
        examples: the base's evaluations by task, the tasks in the order in which they are tried.
        arms: the one that holds the place first.
        most: pairs that may be spent.
    """

    def __init__(self, adapter: str, examples: Sequence[Sequence[Evaluation]], arms: Sequence[Arm], most: int) -> None:
        self._adapter = adapter
        self._tasks = [of_task for of_task in examples if of_task]
        self._arms = arms
        self._alive = list(range(len(arms)))
        self._scores: npt.NDArray[np.float64] = np.zeros((len(arms), 0))
        self._most = most
        self._met_here = 0  # of the first task that is left
        self.winner = arms[0]
        self.over = not self._tasks

    def wanted(self) -> list[Evaluation]:
        """The next examples, in every format that is left."""
        next_ones = self._next()
        return [replace(one, adapter=self._adapter, format=self._arms[arm]) for arm in self._alive for one in next_ones]

    def take(self, values: Sequence[float | Failed]) -> None:
        """The results of `wanted`. An adapter that cannot be run has no format: the race says so."""
        if any(isinstance(value, Failed) for value in values):
            self.over, self.winner = True, None
            return
        new = np.zeros((len(self._arms), len(self._next())))
        # What is no number is worth nothing.
        numbers = np.nan_to_num(np.asarray(values, dtype=np.float64), posinf=0.0, neginf=0.0)
        new[self._alive] = numbers.reshape(len(self._alive), -1)
        self._scores = np.concatenate([self._scores, new], axis=1)
        self._met_here += new.shape[1]
        mute = not self._scores[self._alive, -self._met_here :].any()
        if mute or self._met_here == len(self._tasks[0]):
            self._tasks, self._met_here = self._tasks[1:], 0
        self._judge()

    def _next(self) -> Sequence[Evaluation]:
        until = min(self._met_here + FIRST, self._met_here + self._most - self._scores.shape[1])
        return self._tasks[0][self._met_here : until]

    def _judge(self) -> None:
        sums = self._scores.sum(axis=1)
        leader = max(self._alive, key=lambda arm: (float(sums[arm]), -arm))
        self._alive = [arm for arm in self._alive if arm == leader or self._lead(leader, arm) < self._out(leader)]
        self.over = len(self._alive) == 1 or self._alike() or not self._tasks or self._scores.shape[1] == self._most
        holds = 0 in self._alive and self._lead(leader, 0) <= AHEAD
        self.winner = self._arms[0 if holds else leader]

    def _out(self, leader: int) -> float:
        """How far behind a leader is out: one that holds the place has less to show."""
        return AHEAD if leader == 0 and self._scores.shape[1] >= LEAST else OUT

    def _alike(self) -> bool:
        """Whether those that are left score, and the same on every example."""
        left = self._scores[self._alive]
        return bool((left == left[0]).all() and np.count_nonzero(left[0]) >= ALIKE)

    def _lead(self, arm: int, other: int) -> float:
        """How far one is before the other, in standard errors; 0 where they never differ."""
        difference = self._scores[arm] - self._scores[other]
        error = float(np.sqrt((difference**2).sum()))
        return float(difference.sum()) / error if error else 0.0


@dataclass(frozen=True)
class FormatTrials:
    """What all trials share.

    Args:
        examples: each task's, in the race's order, as evaluations of the base in the task's own format.
        likeness: how much each adapter's text resembles each task, (tasks,), by key; None where nobody looked.
        evaluate: gives metrics.
        view: told of every rung.
    """

    examples: Sequence[Sequence[Evaluation]]
    likeness: Mapping[str, Floats] | None
    evaluate: Evaluate
    view: RungView

    def choose(self, pool: Sequence[str], arms: Mapping[str, Sequence[Arm]]) -> Chosen:
        """The format of every adapter that has others than the task's own, and the base's of every task.

        Args:
            pool: who races.
            arms: by adapter, the one that holds the place first; the task's own comes second where it is not named.
                Of BASE those beside the task's own. Where there are none, nothing is asked.
        """
        trials = {key: self._of_adapter(key, with_own(arms[key])) for key in pool if any(arms.get(key, ()))}
        cells = list(self._run([*trials.values()], "adapters"))
        winners = {key: trial.winner for key, trial in trials.items()}
        asked = {(name, key): won for key, won in winners.items() if won for name in self._names.values()}
        others = _of_the_base(arms.get(BASE, ()), list(winners.values()))
        of_base = {name: self._of_the_base(place, others) for place, name in self._names.items()} if others else {}
        cells += self._run([*of_base.values()], "tasks of the base")
        asked |= {(name, BASE): trial.winner for name, trial in of_base.items() if trial.winner}
        return Chosen(asked, tuple(cells))

    def _run(self, trials: Sequence[_Trial], who: str) -> Iterator[Evaluation]:
        """Run trials side by side, and yield what was evaluated."""
        while running := [trial for trial in trials if not trial.over]:
            wanted = [trial.wanted() for trial in running]
            every = [one for of_trial in wanted for one in of_trial]
            with self.view.rung(len(every), f"formats of {len(running)} {who}") as advance:
                values = iter(self.evaluate(every, advance))
            for trial, of_trial in zip(running, wanted, strict=True):
                trial.take([next(values) for _ in of_trial])
            yield from every

    def _of_adapter(self, key: str, arms: Sequence[Arm]) -> _Trial:
        """A trial on the tasks that the adapter's text resembles most."""
        order = list(range(len(self.examples)))
        toward = None if self.likeness is None else self.likeness[key]
        if toward is not None:
            order = sorted(order, key=lambda task: (-float(toward[task]), task))
        room = sum(map(len, self.examples))
        budget = SHARE * max(FIRST * len(self.examples), RACE * room) / (len(arms) - 1)
        return _Trial(key, [self.examples[task] for task in order], arms, max(LEAST, int(budget)))

    def _of_the_base(self, place: int, others: Sequence[FilledFormat]) -> _Trial:
        return _Trial(BASE, [self.examples[place][:OF_BASE]], [None, *others], OF_BASE)

    @property
    def _names(self) -> dict[int, str]:
        """Names of the tasks that have examples, by their place."""
        return {place: of_task[0].task.name for place, of_task in enumerate(self.examples) if of_task}


def with_own(arms: Sequence[Arm]) -> list[Arm]:
    """At most MOST formats, the task's own among them, and no two with one text."""
    each = _each_once(arms)
    return (each if None in each[:MOST] else [*each[:1], None, *each[1:]])[:MOST]


def _each_once(arms: Iterable[Arm]) -> list[Arm]:
    """The formats without those whose text an earlier one has: under two names the same would be asked twice."""
    first: dict[str | None, Arm] = {}
    for arm in arms:
        first.setdefault(arm.template if arm else None, arm)
    return [*first.values()]


def _of_the_base(chat: Sequence[Arm], won: Sequence[Arm]) -> list[FilledFormat]:
    """The base's other formats: its own chat template, then those that most adapters race in."""
    counts = {one: won.count(one) for one in won if one}
    ranked = sorted(counts, key=lambda one: (-counts[one], one.name))
    return [one for one in _each_once([*chat, *ranked]) if one][: MOST - 1]
