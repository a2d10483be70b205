"""Score: the admitted adapters race on every task; the winner is scored on examples that chose nothing.

Knows: which outputs evaluations need, how they become scores, what is reported of a winner. Does not know: how
outputs are made (flows/outputs), who races on (lorauter/racing), how the catalog is published (flows/publish).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from catalog.bases.base import Base
from catalog.curation import Act, Curation, choose, curation_of
from catalog.tasks.answer import Answer, Failed
from catalog.tasks.controls import majority_scores, scores_of, shuffled_scores
from catalog.tasks.metrics import METRICS, majority_answer
from catalog.tasks.task import Example, Task, content_hash
from flows.outputs.outputs import Outputs
from flows.prefect_runtime.artifacts import ShownOnPrefect
from flows.score.cards import Cards
from flows.score.embeddings import Embeddings, likeness
from flows.screen.progress import Advance, say, stage
from flows.screen.rungs import rungs
from lorauter.racing.race import BASE, Entrance, Evaluation, Finish, current_races, run_races
from lorauter.racing.selection import split_examples
from lorauter.racing.strategies import Strategy
from lorauter.racing.strategies.base import Floats
from warehouse.ledger.ledger import Ledger
from warehouse.plans.plan import Conditions, Work
from warehouse.records.curation import acts
from warehouse.records.rungs import keep_rungs, read_rungs


@dataclass(frozen=True, slots=True)
class Report:
    """A task's winner on the examples that chose nothing, each a score an example.

    Args:
        own: of the winner.
        base: of the base alone.
        majority: of always giving the most frequent target.
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


@dataclass(frozen=True, slots=True)
class Racetrack:
    """What decides how a race comes out, beside adapters and tasks; all of it is in the race's name.

    Args:
        conditions: of every output.
        strategy: which evaluations are run.
        report: share of a task's validation set that chooses nothing and scores the winner.
    """

    conditions: Conditions
    strategy: Strategy
    report: float


def score(
    base: Base,
    tasks: Sequence[Task],
    admitted: Mapping[str, bool],
    track: Racetrack,
    ledger: Ledger,
    outputs: Outputs,
    cards: Cards,
    embeddings: Embeddings,
) -> Scores:
    """Score the admitted adapters of a base on every task. Stored outputs are never made again.

    Args:
        admitted: adapters that the rules let through, by key, and whether their weights were looked at too: those
            judged by their headers only are told of and left out.
        ledger: what people decided, earlier rungs; the new ones are added.
        cards: what adapters say of themselves, read if the strategy looks at it.
        embeddings: of tasks and cards, made if the strategy looks at them.
    """
    curation = curation_of(acts(ledger), base.id)
    free = [key for key in admitted if not curation.ban(key)]
    pool = [key for key in free if admitted[key]]
    if left := len(free) - len(pool):
        say(f"{left} adapters were judged by their headers only and are left out; `lorauter validate` downloads them.")
    begun = [Entrance(task, split_examples(task, track.report)[0], _race_name(task, track)) for task in tasks]
    entrances = current_races(begun, pool, lambda races: read_rungs(ledger, track.conditions.base, races))
    toward = _likeness(cards, embeddings, tasks, pool) if track.strategy.reads_likeness else None
    evaluations = _Evaluations(outputs, track.conditions)
    with rungs("score") as lines:
        view = ShownOnPrefect(lines)
        finishes = run_races(entrances, pool, track.strategy, toward, evaluations.metrics, view)
    published = [_published(curation, finish) for finish in finishes]
    reports = _reports(finishes, [best for best, _ in published], track.report, evaluations)
    keep_rungs(ledger, base, [row for finish in finishes for row in finish.new_rows])
    scored = tuple(TaskScores(f, r, *p) for f, r, p in zip(finishes, reports, published, strict=True))
    view.won({one.task.name: one.best for one in scored})
    spent = sum(len(values) for f in finishes for values in f.scores.values()) + evaluations.reported
    exhaustive = sum((len(pool) + 1) * len(task.validation) for task in tasks)
    return Scores(scored, spent, evaluations.new, exhaustive, curation)


def _race_name(task: Task, track: Racetrack) -> str:
    """Runs of the same race find each other's rungs by it."""
    return content_hash([repr(track.conditions), task.hash, repr(track.strategy), track.report])


def _likeness(cards: Cards, embeddings: Embeddings, tasks: Sequence[Task], pool: Sequence[str]) -> dict[str, Floats]:
    """How much each adapter's name and card resemble each task: (tasks,) by key, BASE among them."""
    texts = cards.texts(pool)
    with stage("embed", len(texts), "cards") as advance:
        cosines = likeness(embeddings, tasks, ["", *texts])
        advance(len(texts))
    return dict(zip([BASE, *pool], cosines.T, strict=True))


class _Evaluations:
    """Evaluations as answers and as metrics, and what they have cost."""

    def __init__(self, outputs: Outputs, conditions: Conditions) -> None:
        self._outputs, self._conditions = outputs, conditions
        self.new = self.reported = 0

    def metrics(self, wanted: Sequence[Evaluation], advance: Advance) -> list[float | Failed]:
        """The metric of each evaluation, or why there is none."""
        return [
            answer if isinstance(answer, Failed) else scores_of(one.task, [answer], [one.example])[0]
            for one, answer in zip(wanted, self.answers(wanted, advance), strict=True)
        ]

    def answers(self, wanted: Sequence[Evaluation], advance: Advance) -> list[Answer]:
        """The answer of each evaluation: a text, or the options weighed where the metric looks at those."""
        work = []
        for one in wanted:
            task, example = one.task, one.example
            mixture = ((one.adapter, 1.0),) if one.adapter else ()
            options = example.options if METRICS[task.metric].needs == "option_logprobs" else ()
            work.append(Work(task.prompt(example.input), mixture, task.max_new_tokens, task.name, example.id, options))
        answers, new = self._outputs.ensure(work, self._conditions, advance)
        self.new += new
        return answers


def _published(curation: Curation, finish: Finish) -> tuple[str, Act | None]:
    """The adapter that a task publishes, and the act that decided it where the race did not."""
    best, act, problem = choose(curation, finish.task.name, finish.best, finish.scores)
    if problem:
        say(problem)
    return best, act


def _reports(finishes: Sequence[Finish], best: Sequence[str], share: float, evaluations: _Evaluations) -> list[Report]:
    """The published adapter of each task, and the base, on the examples that chose nothing."""
    held_back = [split_examples(finish.task, share)[1] for finish in finishes]
    wanted = [
        Evaluation(finish.task, key, example)
        for finish, published, examples in zip(finishes, best, held_back, strict=True)
        for key in dict.fromkeys((BASE, published))
        for example in examples
    ]
    with stage("report", len(wanted), "evaluations") as advance:
        answers = evaluations.answers(wanted, advance)
    evaluations.reported = len(wanted)
    made = {(one.task.name, one.adapter, one.example): answer for one, answer in zip(wanted, answers, strict=True)}
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
