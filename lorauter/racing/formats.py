"""Formats: which prompt format each adapter races in, found with few evaluations before the race.

Knows: the formats of one adapter against each other, on examples that the race would ask for anyway. Does not know:
other adapters, strategies, where formats come from (catalog/formats/detect).

A format is a property of the adapter: it is what its weights were trained on. So its formats are compared pooled over
tasks, on a few examples of those that its card resembles most, and only the best races. The base is no adapter: it is
asked by whoever compares with it, so it takes the best format of each task.

On the examples that two formats have met, S is the sum of the differences of their metrics and Q the sum of their
squares; √Q is the standard error of S where neither is better. A format that is 2 √Q behind is out. One that is left
when the examples are spent takes the place of the task's own only where it leads it by more than √Q. So one example
never decides, two that agree do, and where nothing is known the task's own stays.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count

import numpy as np

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
OF_BASE = 6  # pairs of a task that choose the base's format
OUT, AHEAD = 2.0, 1.0  # standard errors

Asked = Mapping[tuple[str, str], FilledFormat]
"""(task, adapter) → the format it is asked in; the task's own where there is none."""


@dataclass(frozen=True)
class Chosen:
    """Which formats the race is run in.

    Args:
        asked: of each task and adapter, BASE among them.
        cells: every evaluation that chose.
    """

    asked: Asked = field(default_factory=dict)
    cells: tuple[Evaluation, ...] = ()


@dataclass
class _Trial:
    """The formats of one adapter on the same examples.

    Args:
        pairs: evaluations in the task's own format, in the order in which they are spent.
        arms: the task's own (None) first, then the others, likeliest first.
    """

    pairs: Sequence[Evaluation]
    arms: Sequence[FilledFormat | None]
    met: int = 0
    winner: FilledFormat | None = None
    over: bool = False

    def __post_init__(self) -> None:
        self._alive = list(range(len(self.arms)))
        self._scores = np.zeros((len(self.arms), len(self.pairs)))
        self.over = not self.pairs

    @property
    def _goal(self) -> int:
        return min(len(self.pairs), max(LEAST, 2 * self.met))

    def wanted(self) -> list[Evaluation]:
        """The next examples, in every format that is left."""
        return [
            Evaluation(one.task, one.adapter, one.example, self.arms[arm])
            for arm in self._alive
            for one in self.pairs[self.met : self._goal]
        ]

    def take(self, values: Sequence[float | Failed]) -> None:
        """The results of `wanted`. An adapter that cannot be run has no format: the race says so."""
        if any(isinstance(value, Failed) for value in values):
            self.over, self.winner = True, None
            return
        numbers = np.asarray(values, dtype=np.float64).reshape(len(self._alive), -1)
        self._scores[self._alive, self.met : self._goal] = numbers
        self.met = self._goal
        self._judge()

    def _judge(self) -> None:
        leader = max(self._alive, key=lambda arm: (float(self._scores[arm, : self.met].sum()), -arm))
        self._alive = [arm for arm in self._alive if arm == leader or self._lead(leader, arm) < OUT]
        self.over = len(self._alive) == 1 or self.met == len(self.pairs)
        own_stays = 0 in self._alive and self._lead(leader, 0) <= AHEAD
        self.winner = self.arms[0 if own_stays else leader]

    def _lead(self, arm: int, other: int) -> float:
        """How far one is before the other, in standard errors; 0 where they never differ."""
        difference = self._scores[arm, : self.met] - self._scores[other, : self.met]
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

    def choose(self, pool: Sequence[str], others: Mapping[str, Sequence[FilledFormat]]) -> Chosen:
        """The format of every adapter that has others than the task's own, and the base's of every task.

        Args:
            pool: who races.
            others: by adapter, likeliest first; of BASE its own chat template. Where no adapter of the pool has
                any, nothing is asked.
        """
        trials = {key: self._of_adapter(key, others[key][: MOST - 1]) for key in pool if others.get(key)}
        if not trials:
            return Chosen()
        cells = list(self._run([*trials.values()], "adapters"))
        winners = {key: trial.winner for key, trial in trials.items()}
        names = [of_task[0].task.name for of_task in self.examples if of_task]
        asked = {(name, key): won for key, won in winners.items() if won for name in names}
        base_arms = _of_the_base(others.get(BASE, ()), list(winners.values()))
        if base_arms:
            of_base = {
                of_task[0].task.name: _Trial(of_task[:OF_BASE], [None, *base_arms])
                for of_task in self.examples
                if of_task
            }
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

    def _of_adapter(self, key: str, others: Sequence[FilledFormat]) -> _Trial:
        """A trial on the tasks that the adapter's text resembles most, FIRST examples of each, then further ones."""
        order = list(range(len(self.examples)))
        toward = None if self.likeness is None else self.likeness[key]
        if toward is not None:
            order = sorted(order, key=lambda task: (-float(toward[task]), task))
        room = sum(map(len, self.examples))
        budget = SHARE * max(FIRST * len(self.examples), RACE * room) / len(others)
        pairs: list[Evaluation] = []
        for start in count(0, FIRST):
            block = [one for task in order for one in self.examples[task][start : start + FIRST]]
            pairs += [Evaluation(one.task, key, one.example) for one in block]
            if not block or len(pairs) >= max(LEAST, budget):
                break
        return _Trial(pairs[: max(LEAST, int(budget))], [None, *others])


def _of_the_base(chat: Sequence[FilledFormat], won: Sequence[FilledFormat | None]) -> list[FilledFormat]:
    """The base's other formats: its own chat template, then those that most adapters race in."""
    counts = {one: won.count(one) for one in won if one}
    ranked = sorted(counts, key=lambda one: (-counts[one], one.name))
    return list(dict.fromkeys([*chat, *ranked]))[: MOST - 1]
