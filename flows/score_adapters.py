"""Score: successive halving of the admitted adapters on every task, rung by rung, all tasks together.

Knows: which outputs a rung needs, how outputs become scores, when a rung is over (the parent holds the
barrier). Does not know: how outputs are made (generate), how the catalog is published.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from catalog.adapter import AdapterId
from catalog.answer import Failed
from catalog.metrics import METRICS, Mean, mean
from catalog.rules import Base
from catalog.task import Example, Task
from flows.generate import RunShards, ensure_outputs
from flows.home import Home
from flows.progress import Advance, say, stage
from flows.validate_adapters import verdicts
from lorauter.halving import Standing, next_rung, planned_evaluations, ranked, split_examples
from warehouse.plans import Conditions, Work

BASE = ""  # the base's key: an adapter that changes nothing


@dataclass(frozen=True, slots=True)
class TaskScores:
    """What scoring found for one task.

    Args:
        best: key of the published adapter, BASE where none improves on the base.
        selection / report: per example scores of `best`, on the examples that chose it and on fresh ones.
        base_report: the base's on the same fresh examples. rungs: ledger rows of the halving.
    """

    task: Task
    best: str
    selection: tuple[float, ...]
    report: tuple[float, ...]
    base_report: tuple[float, ...]
    rungs: tuple[dict[str, Any], ...]


@dataclass(frozen=True, slots=True)
class Scores:
    """Scores of all tasks, and what they cost: evaluations needed, new ones, and those of an exhaustive run."""

    tasks: tuple[TaskScores, ...]
    spent: int
    new: int
    exhaustive: int


class _Bracket:
    """One task's halving while it runs."""

    def __init__(self, task: Task, pool: Sequence[str]) -> None:
        self.task = task
        self.alive = list(pool)
        self.seen: dict[str, list[float]] = {key: [] for key in (BASE, *pool)}
        self.rows: list[dict[str, Any]] = []
        self.quarantined: dict[str, str] = {}

    def take(self, key: str, value: float | Failed) -> None:
        """A score of an adapter; one that cannot be run takes no further part."""
        if isinstance(value, Failed):
            self.quarantined.setdefault(key, value.error)
        else:
            self.seen[key].append(value)

    def standings(self) -> list[Standing]:
        return [self._standing(key) for key in self.alive]

    def _standing(self, key: str) -> Standing:
        return Standing(key, mean(self.seen[key]).mean, AdapterId.parse(key).is_called(self.task.adapter))


def _checked(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """The admitted adapters whose weights were looked at too; the others are told of and left out."""
    admitted = [row for row in rows if row["admitted"]]
    checked = [row["adapter"] for row in admitted if row["downloaded"]]
    if len(checked) < len(admitted):
        left = len(admitted) - len(checked)
        say(f"{left} adapters were judged by their headers only and are left out; `lorauter validate` downloads them.")
    return checked


def score(home: Home, base: Base, run: RunShards) -> Scores:
    """Score every admitted adapter of `base` on every task of the home. Stored outputs are never made again."""
    pool = _checked(verdicts(home, base))
    tasks = home.tasks()
    options = home.settings.halving
    total = sum(planned_evaluations(task, len(pool), options) for task in tasks)
    with stage("score", total, "evaluations") as advance:
        scoring = _Scoring(home, home.conditions(base.id, base.sha), run, advance)
        brackets = [_Bracket(task, pool) for task in tasks]
        for rung in range(len(options.rungs)):
            scoring.run_rung(brackets, rung)
        scores = scoring.report(brackets)
    home.ledger.changes("rungs").append(row for s in scores for row in s.rungs)
    exhaustive = sum((len(pool) + 1) * len(task.validation) for task in tasks)
    return Scores(tuple(scores), scoring.spent, scoring.new, exhaustive)


class _Scoring:
    """The rungs over all tasks: wants outputs, turns them to scores, counts."""

    def __init__(self, home: Home, conditions: Conditions, run: RunShards, advance: Advance) -> None:
        self._home, self._conditions, self._run, self._advance = home, conditions, run, advance
        self.spent = self.new = 0

    def run_rung(self, brackets: Sequence[_Bracket], rung: int) -> None:
        """Evaluate the survivors and the base on the rung's fresh examples; the better half goes on."""
        options = self._home.settings.halving
        wanted = []
        for bracket in brackets:
            examples = _rung_examples(bracket.task, self._home, rung)
            wanted += [(bracket, key, e) for key in (BASE, *bracket.alive) for e in examples]
        for (bracket, key, _), value in zip(wanted, self._values(wanted), strict=True):
            bracket.take(key, value)
        last = rung == len(options.rungs) - 1
        for bracket in brackets:
            bracket.rows += self._quarantine(bracket, rung)
            survivors = self._winner(bracket) if last else next_rung(bracket.standings(), options)
            bracket.rows += self._rung_rows(bracket, rung, survivors)
            bracket.alive = survivors

    def report(self, brackets: Sequence[_Bracket]) -> list[TaskScores]:
        """Score each winner and the base on the examples that chose nothing."""
        wanted = []
        for bracket in brackets:
            _, examples = split_examples(bracket.task, self._home.settings.halving)
            keys = dict.fromkeys((BASE, *bracket.alive))
            wanted += [(bracket, key, e) for key in keys for e in examples]
        values: dict[tuple[str, str], list[float]] = {}
        for (bracket, key, _), value in zip(wanted, self._values(wanted), strict=True):
            # One that fails only now answers nothing: a score of 0 is what it is worth.
            values.setdefault((bracket.task.name, key), []).append(0.0 if isinstance(value, Failed) else value)
        return [_task_scores(bracket, values) for bracket in brackets]

    def _winner(self, bracket: _Bracket) -> list[str]:
        """The best adapter, or the base where no adapter has a better mean on the same examples."""
        best = next(iter(ranked(bracket.standings())), None)
        if best is None or best.mean <= mean(bracket.seen[BASE]).mean:
            return [BASE]
        return [best.adapter]

    def _quarantine(self, bracket: _Bracket, rung: int) -> list[dict[str, Any]]:
        """Take the adapters that cannot be run out of the bracket, with a row each that says why."""
        hopeless = [key for key in bracket.alive if key in bracket.quarantined]
        bracket.alive = [key for key in bracket.alive if key not in bracket.quarantined]
        rows = []
        for key in hopeless:
            why = f"quarantined: {bracket.quarantined[key]}"
            rows.append(self._rung_row(bracket, rung, key, mean(bracket.seen[key]), False, why))
        return rows

    def _values(self, wanted: Sequence[tuple[_Bracket, str, Example]]) -> list[float | Failed]:
        work = [_work(bracket.task, key, example) for bracket, key, example in wanted]
        answers, new = ensure_outputs(self._home, work, self._conditions, self._run, self._advance)
        self.spent += len(work)
        self.new += new
        return [
            answer
            if isinstance(answer, Failed)
            else METRICS[bracket.task.metric].score(answer, example.target, example.options)
            for (bracket, _, example), answer in zip(wanted, answers, strict=True)
        ]

    def _rung_rows(self, bracket: _Bracket, rung: int, survivors: Sequence[str]) -> list[dict[str, Any]]:
        order = {s.adapter: place for place, s in enumerate(ranked(bracket.standings()), 1)}
        rows = []
        for key in (BASE, *bracket.alive):
            kept = key in survivors
            place = f"place {order[key]} of {len(order)}" if key in order else "the base, always scored"
            rows.append(self._rung_row(bracket, rung, key, mean(bracket.seen[key]), kept, place))
        return rows

    def _rung_row(self, bracket: _Bracket, rung: int, key: str, result: Mean, kept: bool, why: str) -> dict[str, Any]:
        return {
            "base": self._conditions.base,
            "base_sha": self._conditions.base_sha,
            "task": bracket.task.name,
            "task_hash": bracket.task.hash,
            "rung": rung,
            "adapter": key,
            "n": result.n,
            "mean": result.mean,
            "standard_error": result.standard_error,
            "kept": kept,
            "why": why,
        }


def _rung_examples(task: Task, home: Home, rung: int) -> list[Example]:
    rungs, _ = split_examples(task, home.settings.halving)
    return rungs[rung] if rung < len(rungs) else []


def _work(task: Task, key: str, example: Example) -> Work:
    mixture = ((key, 1.0),) if key else ()
    options = example.options if METRICS[task.metric].needs == "option_logprobs" else ()
    return Work(task.prompt(example.input), mixture, task.max_new_tokens, task.name, example.id, options)


def _task_scores(bracket: _Bracket, values: dict[tuple[str, str], list[float]]) -> TaskScores:
    best = bracket.alive[0]
    name = bracket.task.name
    return TaskScores(
        task=bracket.task,
        best=best,
        selection=tuple(bracket.seen[best]),
        report=tuple(values[name, best]),
        base_report=tuple(values[name, BASE]),
        rungs=tuple(bracket.rows),
    )


def majority_score(task: Task, answer: str, examples: Iterable[Example]) -> float:
    """Mean metric of always giving one answer; where options are weighed, of always choosing one."""
    metric = METRICS[task.metric]
    if metric.needs == "option_logprobs":
        return mean([float(answer == example.target) for example in examples]).mean
    return mean([metric.score(answer, example.target, example.options) for example in examples]).mean
