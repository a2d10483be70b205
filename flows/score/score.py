"""Score: the admitted adapters race on every task; the winner is scored on examples that chose nothing.

Knows: how evaluations become scores, what is reported of a winner. Does not know: which outputs evaluations need
(flows/score/evaluations), who races on and in which format (lorauter/racing), how the catalog is published
(flows/publish).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import NamedTuple

from catalog.adapters.adapter import AdapterId
from catalog.bases.base import Base
from catalog.curation import PIN, Act, Curation, choose, curation_of
from catalog.formats.filled import filled
from catalog.formats.tried import Tried
from catalog.tasks.answer import Answer, Endings, endings_of
from catalog.tasks.controls import majority_scores, scores_of, shuffled_scores
from catalog.tasks.metrics import majority_answer, mean
from catalog.tasks.task import Example, Task, content_hash
from flows.outputs.outputs import Outputs
from flows.prefect_runtime.artifacts import ShownOnPrefect
from flows.score.cards import Cards
from flows.score.embeddings import Embeddings, likeness
from flows.score.evaluations import Evaluations
from flows.score.formats import Formats
from flows.screen.progress import say, stage
from flows.screen.rungs import rungs
from lorauter.racing.evaluation import BASE, Evaluation
from lorauter.racing.formats import Arm, Chosen, FormatTrials
from lorauter.racing.race import Entrance, Finish, current_races, run_races
from lorauter.racing.selection import split_examples
from lorauter.racing.strategies import Strategy
from lorauter.racing.strategies.base import Floats
from warehouse.ledger.ledger import Ledger
from warehouse.plans.plan import Conditions
from warehouse.records.curation import acts
from warehouse.records.rungs import keep_rungs, read_rungs

WELL = 0.5  # mean of a metric: who reaches it is hardly cut short


@dataclass(frozen=True, slots=True)
class Report:
    """A task's winner on the examples that chose nothing, each a score an example.

    Args:
        own: of the winner.
        base: of the base alone.
        majority: of always giving the most frequent target.
        shuffled: of the winner's answers against other examples' targets.
        own_endings: how the winner's texts ended.
        base_endings: how the base's did.
    """

    own: tuple[float, ...]
    base: tuple[float, ...]
    majority: tuple[float, ...]
    shuffled: tuple[float, ...]
    own_endings: Endings
    base_endings: Endings

    @property
    def gains(self) -> bool:
        """Whether the winner does better than the base."""
        return mean(self.own).mean > mean(self.base).mean


@dataclass(frozen=True, slots=True)
class TaskScores:
    """What scoring found for one task.

    Args:
        race: how it came out.
        report: on what is published.
        best: the adapter that is published, BASE where none is.
        decided: who chose it, if a person did.
        endings: how the texts ended that each adapter met in the race, by key.
        confirmed: whether the chosen adapter does better than the base on the report's examples; None: the base is.
        set_aside: the chosen adapter where it did not, and the base is published for that.
    """

    race: Finish
    report: Report
    best: str
    decided: Act | None = None
    endings: Mapping[str, Endings] = field(default_factory=dict)
    confirmed: bool | None = None
    set_aside: str | None = None

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
    formats: Formats,
    embeddings: Embeddings,
    keep_unconfirmed: bool = True,
    trained_in: Mapping[str, Sequence[Tried]] | None = None,
) -> Scores:
    """Score the admitted adapters of a base on every task. Stored outputs are never made again.

    Args:
        base: what the adapters were made for.
        tasks: what they race on.
        admitted: adapters that the rules let through, by key, and whether their weights were looked at too: those
            judged by their headers only are told of and left out.
        track: what decides how the races come out.
        ledger: what people decided, earlier rungs; the new ones are added.
        outputs: gives answers to evaluations.
        cards: what adapters say of themselves, read if the strategy looks at it.
        formats: which prompt format they say they were trained in, for those that race; kept, and tried where
            `trained_in` is None.
        embeddings: of tasks and cards, made if the strategy looks at them.
        keep_unconfirmed: whether a winner is published that the report's examples do not confirm; else the base is.
        trained_in: formats in which an adapter may have been trained, by its key, as `formats_to_try` orders them; of
            BASE its own chat template. None: those that the evidence names. Each races in its best, and the base is
            asked in the best of each task.
    """
    curation = curation_of(acts(ledger), base.id)
    free = [key for key in admitted if not curation.ban(key)]
    pool = [key for key in free if admitted[key]]
    if left := len(free) - len(pool):
        say(f"{left} adapters were judged by their headers only and are left out; `lorauter validate` downloads them.")
    formats.read(pool)
    formats.detect(base, pool)
    others = formats.to_try(base, pool) if trained_in is None else trained_in
    begun = [Entrance(task, split_examples(task, track.report)[0], _race_name(task, track)) for task in tasks]
    entrances = current_races(begun, pool, lambda races: read_rungs(ledger, track.conditions.base, races))
    toward = _likeness(cards, embeddings, tasks, pool) if track.strategy.reads_likeness else None
    evaluations = Evaluations(outputs, track.conditions)
    with rungs("score") as lines:
        view = ShownOnPrefect(lines)
        trials = FormatTrials([_in_own_format(entrance) for entrance in entrances], toward, evaluations.compared, view)
        in_formats = trials.choose(pool, _filled(others))
        finishes = run_races(entrances, pool, track.strategy, toward, evaluations.metrics, view, in_formats.asked)
    chosen = [_chosen(curation, finish) for finish in finishes]
    answers = _report_answers(finishes, [best for best, _ in chosen], track.report, evaluations)
    scored = tuple(
        _settled(finish, best, act, made, evaluations.endings, keep_unconfirmed)
        for finish, (best, act), made in zip(finishes, chosen, answers, strict=True)
    )
    keep_rungs(ledger, base, [row for finish in finishes for row in finish.new_rows])
    view.won({one.task.name: one.best for one in scored})
    for doubt in doubts(scored):
        say(doubt)
    spent = sum(len(values) for f in finishes for values in f.scores.values()) + evaluations.reported
    spent += _beyond_the_races(in_formats, entrances, finishes)
    exhaustive = sum((len(pool) + 1) * len(task.validation) for task in tasks)
    return Scores(scored, spent, evaluations.new, exhaustive, curation)


def _race_name(task: Task, track: Racetrack) -> str:
    """Runs of the same race find each other's rungs by it."""
    return content_hash([repr(track.conditions), task.hash, repr(track.strategy), track.report])


def _in_own_format(entrance: Entrance) -> list[Evaluation]:
    """The race's examples as the base is asked them in the task's own format."""
    return [Evaluation(entrance.task, BASE, example) for example in entrance.examples]


def _filled(formats: Mapping[str, Sequence[Tried]]) -> dict[str, list[Arm]]:
    """Formats as one text each; those that want an instruction are left out."""
    return {key: [*_arms(of_key)] for key, of_key in formats.items()}


def _arms(formats: Sequence[Tried]) -> Iterator[Arm]:
    for format_ in formats:
        if format_ is None:
            yield None
        elif one := filled(format_):
            yield one


def _beyond_the_races(chosen: Chosen, entrances: Sequence[Entrance], finishes: Sequence[Finish]) -> int:
    """How many evaluations chose formats and are none of a race's own."""
    if not chosen.cells:
        return 0
    raced = {
        Evaluation(finish.task, key, example, finish.formats.get(key)).identity
        for entrance, finish in zip(entrances, finishes, strict=True)
        for key, values in finish.scores.items()
        for example in entrance.examples[: len(values)]
    }
    return len({cell.identity for cell in chosen.cells} - raced)


def _likeness(cards: Cards, embeddings: Embeddings, tasks: Sequence[Task], pool: Sequence[str]) -> dict[str, Floats]:
    """How much each adapter's name and card resemble each task: (tasks,) by key, BASE among them."""
    texts = cards.texts(pool)
    with stage("embed", len(texts), "cards") as advance:
        cosines = likeness(embeddings, tasks, ["", *texts])
        advance(len(texts))
    return dict(zip([BASE, *pool], cosines.T, strict=True))


def _chosen(curation: Curation, finish: Finish) -> tuple[str, Act | None]:
    """The adapter that is chosen for a task, and the act that decided it where the race did not."""
    best, act, problem = choose(curation, finish.task.name, finish.best, finish.scores)
    if problem:
        say(problem)
    return best, act


class _Answers(NamedTuple):
    """The report's examples of one task, with the answers of the chosen adapter and of the base."""

    examples: Sequence[Example]
    by_adapter: Mapping[str, Sequence[Answer]]


def _report_answers(
    finishes: Sequence[Finish], chosen: Sequence[str], share: float, evaluations: Evaluations
) -> list[_Answers]:
    """Answers of each task's chosen adapter, and of the base, on the examples that chose nothing."""
    held_back = [split_examples(finish.task, share)[1] for finish in finishes]
    wanted = [
        Evaluation(finish.task, key, example, finish.formats.get(key))
        for finish, best, examples in zip(finishes, chosen, held_back, strict=True)
        for key in dict.fromkeys((BASE, best))
        for example in examples
    ]
    with stage("report", len(wanted), "evaluations") as advance:
        answers = iter(evaluations.answers(wanted, advance))
    evaluations.reported = len(wanted)
    return [
        _Answers(examples, {key: list(islice(answers, len(examples))) for key in dict.fromkeys((BASE, best))})
        for best, examples in zip(chosen, held_back, strict=True)
    ]


def _settled(
    finish: Finish,
    best: str,
    act: Act | None,
    answers: _Answers,
    endings: Mapping[tuple[str, str], Endings],
    keep_unconfirmed: bool,
) -> TaskScores:
    """What a task publishes, with its report. What a person pinned is published, confirmed or not."""
    task = finish.task
    report = _report(task, best, answers)
    confirmed = report.gains if best != BASE else None
    own = {key: endings[task.name, key] for key in finish.scores if (task.name, key) in endings}
    if confirmed is False and not keep_unconfirmed and (act is None or act.kind != PIN):
        return TaskScores(finish, _report(task, BASE, answers), BASE, act, own, confirmed, set_aside=best)
    return TaskScores(finish, report, best, act, own, confirmed)


def _report(task: Task, best: str, answers: _Answers) -> Report:
    # A winner that fails only now answers nothing: a score of 0 is what it is worth.
    examples, own, base = answers.examples, answers.by_adapter[best], answers.by_adapter[BASE]
    majority = majority_answer([example.target for example in task.validation])
    return Report(
        own=tuple(scores_of(task, own, examples)),
        base=tuple(scores_of(task, base, examples)),
        majority=tuple(majority_scores(task, majority, examples)),
        shuffled=tuple(shuffled_scores(task, own, examples)),
        own_endings=endings_of(own),
        base_endings=endings_of(base),
    )


def doubts(scored: Sequence[TaskScores]) -> Iterator[str]:
    """What a person should know before a catalog is believed: mute bases, cut answers, winners without a gain."""
    for one in scored:
        task, base = one.task, one.report.base_endings + one.endings.get(BASE, Endings())
        own = one.report.own_endings + (one.endings.get(one.best, Endings()) if one.best else Endings())
        if base.mostly_empty:
            yield (
                f"{task.name}: the base says nothing on {base.empty} of {base.texts} examples: a lift over it means "
                f"little. Ask it otherwise: lorauter tasks add … --template chat."
            )
        if own.mostly_cut and mean(one.report.own).mean < WELL:  # short answers that are right are meant to be short
            yield (
                f"{task.name}: {own.cut} of {own.texts} answers are cut after {task.max_new_tokens} tokens. Give the "
                f"task more: lorauter tasks add … --max-new-tokens {4 * task.max_new_tokens}."
            )
        if one.confirmed is False:
            left = one.set_aside or one.best
            then = "the base is published" if one.set_aside else "it is published all the same (LORAUTER_UNCONFIRMED)"
            yield f"{task.name}: {AdapterId.parse(left).name} gains nothing on examples that did not choose it; {then}."
