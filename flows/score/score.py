"""Score: the admitted adapters race on every task; the winner is scored on examples that chose nothing.

Knows: which outputs evaluations need, how they become scores, what is reported of a winner. Does not know: how
outputs are made (generate), who races on (race, lorauter/racing/strategies), how the catalog is published.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from catalog.curation import Act, Curation, choose, curation_of
from catalog.rules.table import Base
from catalog.tasks.answer import Answer, Failed
from catalog.tasks.controls import majority_scores, scores_of, shuffled_scores
from catalog.tasks.metrics import METRICS, majority_answer
from catalog.tasks.task import Example, Task, content_hash
from flows.home.home import Home
from flows.outputs.shards import RunShards, ensure_outputs
from flows.prefect_runtime.artifacts import ShownOnPrefect
from flows.score.cards import adapter_texts
from flows.score.embeddings import Embeddings, likeness
from flows.screen.progress import Advance, say, stage
from flows.screen.rungs import rungs
from lorauter.racing.race import BASE, Entrance, Evaluation, Finish, current_races, run_races
from lorauter.racing.selection import split_examples
from lorauter.racing.strategies.base import Floats
from warehouse.plans.plan import Conditions, Work
from warehouse.records.verdicts import Admitted, admitted_of_pool
from warehouse.schemas.tables import LEDGER


@dataclass(frozen=True, slots=True)
class Report:
    """A task's winner on the examples that chose nothing, each a score an example.

    Args:
        own, base: of winner and base. majority: of always giving the most frequent target.
        shuffled: of the winner's answers against other examples' targets.
    """

    own: tuple[float, ...]
    base: tuple[float, ...]
    majority: tuple[float, ...]
    shuffled: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class TaskScores:
    """What scoring found for one task: its race, the report of what is published, and who decided that, if a person."""

    race: Finish
    report: Report
    best: str
    decided: Act | None = None

    @property
    def task(self) -> Task:
        """The task."""
        return self.race.task


@dataclass(frozen=True, slots=True)
class Scores:
    """Scores of all tasks, and what they cost: evaluations needed, new ones, and those of an exhaustive run.

    Args:
        curation: what people decided, and these scores honour.
    """

    tasks: tuple[TaskScores, ...]
    spent: int
    new: int
    exhaustive: int
    curation: Curation


def score(home: Home, base: Base, run: RunShards) -> Scores:
    """Score every admitted adapter of `base` on every task of the home. Stored outputs are never made again."""
    curation = curation_of(map(Act.of, home.ledger.read("curation").to_pylist()), base.id)
    admitted = admitted_of_pool(home.ledger, home.wanted, base)
    pool = _checked([one for one in admitted if not curation.ban(one.adapter)])
    tasks = home.tasks()
    outputs = _Outputs(home, home.conditions(base.id, base.sha), run)
    entrances = _entrances(home, outputs.conditions, tasks, pool)
    strategy = home.settings.chosen_strategy
    toward = _likeness(home, tasks, pool) if strategy.reads_likeness else None
    with rungs("score") as lines:
        view = ShownOnPrefect(lines)
        finishes = run_races(entrances, pool, strategy, toward, outputs.evaluate, view)
    published = [_published(curation, finish) for finish in finishes]
    reports = _reports(home, finishes, [best for best, _ in published], outputs)
    home.ledger.stamp("rungs", [_of_base(row, base) for f in finishes for row in f.rows[len(f.rows) - f.new :]])
    found = tuple(TaskScores(f, r, *p) for f, r, p in zip(finishes, reports, published, strict=True))
    view.won([{"task": s.task.name, "adapter": s.best or "(base)"} for s in found])
    spent = sum(len(values) for f in finishes for values in f.scores.values()) + outputs.reported
    exhaustive = sum((len(pool) + 1) * len(task.validation) for task in tasks)
    return Scores(found, spent, outputs.new, exhaustive, curation)


def _published(curation: Curation, finish: Finish) -> tuple[str, Act | None]:
    """The adapter that a task publishes, and the act that decided it where the race did not."""
    best, act, problem = choose(curation, finish.task.name, finish.best, finish.scores)
    if problem:
        say(problem)
    return best, act


def _checked(admitted: Sequence[Admitted]) -> list[str]:
    """The admitted adapters whose weights were looked at too; the others are told of and left out."""
    checked = [one.adapter for one in admitted if one.downloaded]
    if len(checked) < len(admitted):
        left = len(admitted) - len(checked)
        say(f"{left} adapters were judged by their headers only and are left out; `lorauter validate` downloads them.")
    return checked


def _entrances(home: Home, conditions: Conditions, tasks: Sequence[Task], pool: Sequence[str]) -> list[Entrance]:
    """The tasks with what earlier runs of their races have written."""
    settings = home.settings
    strategy = repr(settings.chosen_strategy)
    names = [content_hash([repr(conditions), task.hash, strategy, settings.report]) for task in tasks]
    begun = [
        Entrance(task, split_examples(task, settings.report)[0], name) for task, name in zip(tasks, names, strict=True)
    ]
    return current_races(begun, pool, lambda races: _rung_rows(home, conditions, races))


def _rung_rows(home: Home, conditions: Conditions, races: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
    """The rows of these races by name, in the order of their rungs."""
    columns = [name for name in LEDGER["rungs"].names if name != "at"]
    found = home.ledger.where("rungs", {"base": conditions.base, "race": races}, columns)
    rows: dict[str, list[dict[str, Any]]] = {}
    for row in sorted(found, key=lambda row: int(row["rung"])):
        rows.setdefault(row["race"], []).append(row)
    return rows


def _likeness(home: Home, tasks: Sequence[Task], pool: Sequence[str]) -> dict[str, Floats]:
    """How much each adapter's name and card resemble each task: (tasks,) by key, BASE among them."""
    texts = adapter_texts(home, pool)
    with stage("embed", len(texts), "cards") as advance:
        found = likeness(Embeddings(home), tasks, ["", *texts])
        advance(len(texts))
    return dict(zip([BASE, *pool], found.T, strict=True))


class _Outputs:
    """Answers of tasks' prompts, and what they have cost."""

    def __init__(self, home: Home, conditions: Conditions, run: RunShards) -> None:
        self._home, self.conditions, self._run = home, conditions, run
        self.new = self.reported = 0

    def evaluate(self, wanted: Sequence[Evaluation], advance: Advance) -> list[float | Failed]:
        """The metric of each evaluation."""
        return [
            answer if isinstance(answer, Failed) else scores_of(one.task, [answer], [one.example])[0]
            for one, answer in zip(wanted, self.answers(wanted, advance), strict=True)
        ]

    def answers(self, wanted: Sequence[Evaluation], advance: Advance) -> list[Answer]:
        """The answer of each evaluation."""
        work = [_work(one) for one in wanted]
        answers, new = ensure_outputs(self._home, work, self.conditions, self._run, advance)
        self.new += new
        return answers


def _reports(home: Home, finishes: Sequence[Finish], best: Sequence[str], outputs: _Outputs) -> list[Report]:
    """The published adapter of each task, and the base, on the examples that chose nothing."""
    held_back = [split_examples(finish.task, home.settings.report)[1] for finish in finishes]
    wanted = [
        Evaluation(finish.task, key, example)
        for finish, published, examples in zip(finishes, best, held_back, strict=True)
        for key in dict.fromkeys((BASE, published))
        for example in examples
    ]
    with stage("report", len(wanted), "evaluations") as advance:
        answers = outputs.answers(wanted, advance)
    made = {(one.task.name, one.adapter, one.example): answer for one, answer in zip(wanted, answers, strict=True)}
    outputs.reported = len(wanted)
    rows = zip(finishes, best, held_back, strict=True)
    return [_report(finish.task, published, examples, made) for finish, published, examples in rows]


def _report(
    task: Task, published: str, examples: Sequence[Example], made: Mapping[tuple[str, str, Example], Answer]
) -> Report:
    # A winner that fails only now answers nothing: a score of 0 is what it is worth.
    own, base = ([made[task.name, key, example] for example in examples] for key in (published, BASE))
    majority = majority_answer([example.target for example in task.validation])
    return Report(
        own=tuple(scores_of(task, own, examples)),
        base=tuple(scores_of(task, base, examples)),
        majority=tuple(majority_scores(task, majority, examples)),
        shuffled=tuple(shuffled_scores(task, own, examples)),
    )


def _work(one: Evaluation) -> Work:
    task, example = one.task, one.example
    mixture = ((one.adapter, 1.0),) if one.adapter else ()
    options = example.options if METRICS[task.metric].needs == "option_logprobs" else ()
    return Work(task.prompt(example.input), mixture, task.max_new_tokens, task.name, example.id, options)


def _of_base(row: Mapping[str, Any], base: Base) -> dict[str, Any]:
    return {"base": base.id, "base_sha": base.sha, **row}
