"""Races: every task's adapters and the base, rung by rung, under a strategy; all tasks together.

Knows: the barrier of a rung, what earlier runs of a race settled, who is set aside, the rows that tell all of it.
Does not know: how a strategy decides (lorauter/racing/strategies), how an evaluation is made (flows/score).

A race is one task under one strategy and one set of conditions. Its rungs are written when all its run is over, so a
run that was killed begins from the same state and decides alike; the outputs that it had made cost nothing again. A
later run goes on from what is written: adapters that were in an earlier one are settled, newcomers race the leader.

Where a race's winner is gone, the others run a race of its own name for its place (`Entrance.successor`), and what they
decide there is written there. So the winner finds its race as it left it when it comes back, and wins it again.
One that could not be run is out for as long as the engine is the same; to another version it is a newcomer.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from catalog.adapters.adapter import AdapterId
from catalog.formats.filled import FilledFormat
from catalog.tasks.answer import Failed
from catalog.tasks.metrics import mean
from catalog.tasks.task import Example, Task, content_hash
from lorauter.engine.version import SERVING_VERSION
from lorauter.racing.evaluation import BASE, Evaluate, Evaluation
from lorauter.racing.formats import Asked
from lorauter.racing.strategies import Problem, Step, Strategy, evaluations, nothing_seen, with_scores, without
from lorauter.racing.strategies.base import Floats
from lorauter.racing.view import Advance, RungView
from warehouse.records.rungs import RungRow

QUARANTINED = "quarantined: "


@dataclass(frozen=True)
class Entrance:
    """A task as it enters.

    Args:
        examples: in the race's order.
        race: its name.
        rows: its rungs by earlier runs.
        unfit: adapters that could not be run in the races that this one follows, and the engine's version there.
    """

    task: Task
    examples: Sequence[Example]
    race: str
    rows: Sequence[RungRow] = ()
    unfit: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def rungs(self) -> int:
        """How many rungs there have been; the first is number 1."""
        return max((row.rung for row in self.rows), default=0)

    @cached_property
    def met(self) -> dict[tuple[str, str | None], int]:
        """How many examples each adapter has met in each format, by its name; None: the task's own."""
        return {(row.adapter, row.format): row.n for row in sorted(self.rows, key=lambda row: row.rung)}

    @cached_property
    def switched(self) -> set[str]:
        """The adapters that were asked in more than one format."""
        counts = Counter(adapter for adapter, _ in self.met)
        return {adapter for adapter, formats in counts.items() if formats > 1}

    @cached_property
    def pick(self) -> str | None:
        """The adapter that came out first, None where there was no race yet."""
        return next((row.adapter for row in self.rows if row.kept and row.rung == self.rungs), None)

    @property
    def quarantined(self) -> dict[str, str]:
        """Adapters that could not be run when they were last tried, and the version of the engine that tried."""
        last = {row.adapter: row for row in sorted(self.rows, key=lambda row: row.rung)}
        own = {key: row.refused_by or "" for key, row in last.items() if row.why.startswith(QUARANTINED)}
        return {**self.unfit, **own}

    @property
    def hopeless(self) -> frozenset[str]:
        """Those that this version of the engine could not run."""
        return frozenset(key for key, version in self.quarantined.items() if version == SERVING_VERSION)

    @property
    def successor(self) -> str:
        """Name of the race for the winner's place, while the winner is gone."""
        return content_hash([self.race, self.pick])


@dataclass(slots=True)
class Finish:
    """How a race came out.

    Args:
        scores: of every adapter that took part, BASE among them, on the first examples of the race's order.
        rows: of all its rungs, those of earlier runs first.
        new: how many of the rows are of this run.
        formats: of those that were asked in another than the task's own, BASE among them.
    """

    task: Task
    best: str
    scores: dict[str, tuple[float, ...]]
    rows: list[RungRow] = field(default_factory=list)
    new: int = 0
    formats: Mapping[str, FilledFormat] = field(default_factory=dict)

    def name_of_format(self, adapter: str) -> str | None:
        """The name of the format that an adapter was asked in; None: the task's own."""
        asked = self.formats.get(adapter)
        return asked.name if asked else None

    @property
    def new_rows(self) -> list[RungRow]:
        """Those of this run, which no ledger has yet."""
        return self.rows[len(self.rows) - self.new :]


def current_races(
    begun: Sequence[Entrance],
    pool: Collection[str],
    rows_of: Callable[[Sequence[str]], Mapping[str, Sequence[RungRow]]],
) -> list[Entrance]:
    """The race that each task goes on with: its first one, or a successor whose winner is there.

    Args:
        begun: each task's first race, its rows not read yet.
        rows_of: reads the rows of races, by name.
    """
    entrances, read = list(begun), dict[str, Sequence[RungRow]]()
    while unread := [entrance.race for entrance in entrances if entrance.race not in read]:
        read |= {**dict.fromkeys(unread, ()), **rows_of(unread)}
        entrances = [replace(entrance, rows=read[entrance.race]) for entrance in entrances]
        here = {BASE, *pool}.difference(*(entrance.hopeless for entrance in entrances))
        entrances = [
            entrance
            if entrance.pick is None or entrance.pick in here
            else replace(entrance, race=entrance.successor, rows=(), unfit=entrance.quarantined)
            for entrance in entrances
        ]
    return entrances


def run_races(
    entrances: Sequence[Entrance],
    pool: Sequence[str],
    strategy: Strategy,
    likeness: Mapping[str, Floats] | None,
    evaluate: Evaluate,
    view: RungView,
    asked: Asked | None = None,
) -> list[Finish]:
    """Race the pool and the base on every task until the strategy wants no more.

    Args:
        entrances: none whose winner is not in the pool: the successor of such a race is run.
        pool: adapter keys.
        likeness: how much each adapter's text resembles each task, (tasks,), by key, BASE too.
        asked: who is asked in another format than the task's own. Who was asked in another one by an earlier run is a
            newcomer.
    """
    races = _Races(entrances, pool, strategy, likeness, asked or {})
    races.recall(evaluate)
    step = races.next()
    while step.wants_more(races.seen):
        rung = races.take(step, evaluate, view)
        step = races.next()
        races.note(rung, step)
    return races.finish(step)


@dataclass(frozen=True, slots=True)
class _Rung:
    """What happened in a rung: who met examples, and why some could not; both by (task, adapter key)."""

    met: frozenset[tuple[int, str]]
    failed: Mapping[tuple[int, str], str]


class _Races:
    """The state of all races: results, who is still in, the rows of this run."""

    def __init__(
        self,
        entrances: Sequence[Entrance],
        pool: Sequence[str],
        strategy: Strategy,
        likeness: Mapping[str, Floats] | None,
        asked: Asked,
    ) -> None:
        self._entrances, self._strategy, self._asked = entrances, strategy, asked
        hopeless = {key for entrance in entrances for key in entrance.hopeless}
        self._again = {key for entrance in entrances for key in entrance.quarantined} - hopeless
        self._keys = [BASE, *(key for key in pool if key not in hopeless)]
        room = np.asarray([len(e.examples) for e in entrances], dtype=np.int64)
        toward = None if likeness is None else np.stack([likeness[key] for key in self._keys], axis=1)
        known = [self._met(entrance) for entrance in entrances]
        settled = np.asarray([[key in met for key in self._keys] for met in known], dtype=np.bool_)
        self._problem = Problem(room, len(self._keys), toward, settled)
        self.seen = nothing_seen(self._problem)
        self._rows: list[list[RungRow]] = [[] for _ in entrances]
        self._rung = 0  # of this run
        self._hashes = [entrance.task.hash for entrance in entrances]

    def recall(self, evaluate: Evaluate) -> None:
        """Take what earlier runs have evaluated; its outputs are in the ledger."""
        met = [[self._met(entrance).get(key, 0) for key in self._keys] for entrance in self._entrances]
        counts = np.minimum(np.asarray(met, dtype=np.int64), self._problem.room[:, None])
        step = Step(counts, np.zeros(len(met), dtype=np.int64), lambda _task, _adapter: "settled")
        self._evaluate(step, evaluate, lambda _: None)

    def next(self) -> Step:
        """What the strategy wants now."""
        return self._strategy.next(self._problem, self.seen)

    def take(self, step: Step, evaluate: Evaluate, view: RungView) -> _Rung:
        """Evaluate what a step lacks. Those that cannot be run are out of all races."""
        self._rung += 1
        lacking = step.counts > self.seen.counts
        met = frozenset((task, self._keys[a]) for task, a in np.argwhere(lacking).tolist())
        missing = int((step.counts - self.seen.counts)[lacking].sum())
        adapters, tasks = int(lacking.any(axis=0).sum()), int(lacking.any(axis=1).sum())
        with view.rung(missing, f"{adapters} adapters, {tasks} tasks") as advance:
            return _Rung(met, self._evaluate(step, evaluate, advance))

    def note(self, rung: _Rung, step: Step) -> None:
        """Rows of a rung, now that the step after it says who goes on."""
        for (task, key), error in sorted(rung.failed.items()):
            self._add_row(task, key, None, False, f"{QUARANTINED}{error}")
        numbers = {key: number for number, key in enumerate(self._keys)}
        for task, key in sorted(rung.met - rung.failed.keys()):
            if key not in numbers:
                continue  # out, for what it did on another task
            number = numbers[key]
            goes_on = bool(step.counts[task, number] > self.seen.counts[task, number])
            self._add_row(task, key, number, goes_on or number == step.picks[task], step.why(task, number))

    def finish(self, step: Step) -> list[Finish]:
        """The outcome of every race; `step` wants no more."""
        finishes = []
        for number, entrance in enumerate(self._entrances):
            best = self._best(number, step)
            self._crown(number, best, step)
            scores = {
                key: tuple(self.seen.scores[number, adapter, : self.seen.counts[number, adapter]].tolist())
                for adapter, key in enumerate(self._keys)
            }
            rows = self._rows[number]
            name = entrance.task.name
            formats = {key: self._asked[name, key] for key in self._keys if (name, key) in self._asked}
            finishes.append(Finish(entrance.task, best, scores, [*entrance.rows, *rows], len(rows), formats))
        return finishes

    def _evaluate(self, step: Step, evaluate: Evaluate, advance: Advance) -> dict[tuple[int, str], str]:
        cells = list(evaluations(step, self.seen))
        wanted = [self._evaluation(*cell) for cell in cells]
        values = dict(zip(cells, evaluate(wanted, advance), strict=True))
        failed = {(c[0], self._keys[c[1]]): v.error for c, v in values.items() if isinstance(v, Failed)}
        scores = {cell: value for cell, value in values.items() if not isinstance(value, Failed)}
        self.seen = with_scores(self.seen, step, scores)
        out = {self._keys.index(key) for _, key in failed}
        self._problem, self.seen = without(self._problem, self.seen, out)
        self._keys = [key for number, key in enumerate(self._keys) if number not in out]
        return failed

    def _evaluation(self, task: int, adapter: int, place: int) -> Evaluation:
        entrance, key = self._entrances[task], self._keys[adapter]
        return Evaluation(entrance.task, key, entrance.examples[place], self._asked.get((entrance.task.name, key)))

    def _met(self, entrance: Entrance) -> dict[str, int]:
        """How many examples each adapter has met as it is asked now; one that is tried again begins anew."""
        return {
            key: n
            for (key, name), n in entrance.met.items()
            if key not in self._again and name == self._format(entrance, key)
        }

    def _format(self, entrance: Entrance, key: str) -> str | None:
        """The name of the format that an adapter is asked in; None: the task's own."""
        asked = self._asked.get((entrance.task.name, key))
        return asked.name if asked else None

    def _best(self, task: int, step: Step) -> str:
        """The strategy's pick, or an equal: the base, the task's own adapter, or the first in order.

        A race that nobody entered keeps its own; unless somebody was asked in two formats, for then it may be the pick
        of others than those of now.
        """
        entrance, problem = self._entrances[task], self._problem
        if entrance.pick in self._keys and not problem.open[task].any() and not entrance.switched & {*self._keys}:
            return str(entrance.pick)
        pick = int(step.picks[task])
        counts, means = self.seen.counts[task], self.seen.means[task]
        equals = np.flatnonzero((counts >= counts[pick]) & (means >= means[pick])).tolist()
        own = [a for a in equals if self._keys[a] and AdapterId.parse(self._keys[a]).is_called(entrance.task.adapter)]
        return self._keys[0 if 0 in equals else own[0] if own else equals[0]]

    def _crown(self, task: int, best: str, step: Step) -> None:
        """See that the best, and nobody else, is kept in the race's last rung."""
        entrance, rows = self._entrances[task], self._rows[task]
        if not rows and entrance.pick == best:
            return
        last = max((row.rung for row in rows), default=entrance.rungs + 1)
        rows[:] = [replace(row, kept=row.adapter == best) if row.rung == last else row for row in rows]
        if not any(row.kept for row in rows if row.rung == last):
            number = self._keys.index(best)
            self._add_row(task, best, number, True, step.why(task, number), last)

    def _add_row(self, task: int, key: str, number: int | None, kept: bool, why: str, rung: int | None = None) -> None:
        """A row of a rung, this one unless told; `number` is the adapter's place, None of one that is out."""
        entrance = self._entrances[task]
        scores = [] if number is None else self.seen.scores[task, number, : self.seen.counts[task, number]].tolist()
        result = mean(scores)
        self._rows[task].append(
            RungRow(
                task=entrance.task.name,
                task_hash=self._hashes[task],
                race=entrance.race,
                rung=entrance.rungs + self._rung if rung is None else rung,
                adapter=key,
                n=result.n,
                mean=result.mean,
                standard_error=result.standard_error,
                kept=kept,
                why=why,
                refused_by=SERVING_VERSION if why.startswith(QUARANTINED) else None,
                format=self._format(entrance, key),
            )
        )
