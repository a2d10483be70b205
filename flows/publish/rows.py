"""Scores as the snapshot's rows: the task, its inputs, the winner's report, where every adapter of a race came to.

Knows: what each column is made of, paired differences and their errors. Does not know: how scores come about, how
rows are stored (warehouse/records/published).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from catalog.adapters.adapter import AdapterId
from catalog.bases.base import Base
from catalog.curation import BAN, Act, Curation
from catalog.tasks.answer import Endings
from catalog.tasks.metrics import Mean, majority_answer, mean
from flows.score.embeddings import EncoderIdentity, Vectors
from flows.score.score import TaskScores
from lorauter.racing.evaluation import BASE
from warehouse.records.published import BestRow, CuratedRow, InputRow, ScoreRow, TaskRow, TemplateRow


def task_row(base: Base, scores: TaskScores, encoder: EncoderIdentity, embedding: Vectors) -> TaskRow:
    """The row of `tasks`."""
    task = scores.task
    return TaskRow(
        base=base.id,
        base_sha=base.sha,
        task=task.name,
        task_hash=task.hash,
        metric=task.metric,
        template=task.template,
        max_new_tokens=task.max_new_tokens,
        description=task.description,
        declared=task.adapter,
        n_validation=len(task.validation),
        majority=majority_answer([e.target for e in task.validation]),
        majority_score=mean(scores.report.majority).mean,
        encoder=encoder.id,
        encoder_sha=encoder.sha,
        encoder_prompt=encoder.prompt,
        encoder_hash=encoder.hash,
        embedding=embedding.tolist(),
    )


def input_rows(base: Base, scores: TaskScores, embeddings: Vectors) -> Iterator[InputRow]:
    """The rows of `inputs`, one a validation example."""
    task = scores.task
    for number, (example, vector) in enumerate(zip(task.validation, embeddings.tolist(), strict=True)):
        yield InputRow(base.id, base.sha, task.name, number, example.input, example.target, vector)


def best_row(base: Base, scores: TaskScores) -> BestRow:
    """The row of `best`: the task's published adapter, on the examples that chose nothing."""
    adapter = AdapterId.parse(scores.best) if scores.best else None
    report, own = scores.report, mean(scores.report.own)
    over_base, over_majority, over_shuffled = (
        _lift(report.own, other) for other in (report.base, report.majority, report.shuffled)
    )
    selected, asked = mean(scores.race.scores[scores.best]), scores.race.formats.get(scores.best)
    return BestRow(
        base=base.id,
        base_sha=base.sha,
        task=scores.task.name,
        adapter=scores.best,
        repo=adapter.repo if adapter else None,
        path=adapter.path if adapter else None,
        sha=adapter.sha if adapter else None,
        score=own.mean,
        standard_error=own.standard_error,
        n=own.n,
        base_score=mean(report.base).mean,
        lift=over_base.mean,
        lift_standard_error=over_base.standard_error,
        majority_score=mean(report.majority).mean,
        lift_over_majority=over_majority.mean,
        lift_over_majority_standard_error=over_majority.standard_error,
        shuffled_score=mean(report.shuffled).mean,
        lift_over_shuffled=over_shuffled.mean,
        lift_over_shuffled_standard_error=over_shuffled.standard_error,
        curation=_decision(scores),
        selection_score=selected.mean,
        selection_n=selected.n,
        empty=report.own_endings.empty if report.own_endings.texts else None,
        cut=report.own_endings.cut if report.own_endings.texts else None,
        base_empty=report.base_endings.empty if report.base_endings.texts else None,
        base_cut=report.base_endings.cut if report.base_endings.texts else None,
        confirmed=scores.confirmed,
        set_aside=scores.set_aside,
        format=asked.name if asked else None,
        template=asked.template if asked else None,
        stops=asked.stops if asked else None,
        base_format=scores.race.name_of_format(BASE),
    )


def _decision(scores: TaskScores) -> str | None:
    """A person's decision; a ban is that of the race's winner, and not of the adapter that came in its place."""
    act = scores.decided
    if act is None or act.kind != BAN:
        return str(act) if act else None
    return f"in place of {AdapterId.parse(scores.race.best).name}, {act}"


def score_rows(base: Base, scores: TaskScores, curation: Curation) -> Iterator[ScoreRow]:
    """The rows of `scores`: every adapter that met an example, on the examples that it met. Who is banned has none."""
    race = scores.race
    last = {row.adapter: row for row in race.rows if row.format == race.name_of_format(row.adapter)}
    for key, values in race.scores.items():
        if not values or key not in last or (key and curation.ban(key, scores.task.name)):
            continue
        result, both = mean(values), min(len(values), len(race.scores[BASE]))
        lift = _lift(values[:both], race.scores[BASE][:both])
        endings = scores.endings.get(key, Endings())
        yield ScoreRow(
            base=base.id,
            base_sha=base.sha,
            task=scores.task.name,
            adapter=key,
            n=result.n,
            mean=result.mean,
            standard_error=result.standard_error,
            lift=lift.mean,
            lift_standard_error=lift.standard_error,
            lift_n=both,
            rung=last[key].rung,
            chosen=key == scores.best,
            why=last[key].why,
            empty=endings.empty if endings.texts else None,
            cut=endings.cut if endings.texts else None,
            format=race.name_of_format(key),
        )


def template_rows(base: Base, scores: Iterable[TaskScores]) -> Iterator[TemplateRow]:
    """The rows of `templates`: every format that `scores` and `best` name, once."""
    formats = {asked.name: asked for one in scores for asked in one.race.formats.values()}
    for asked in formats.values():
        yield TemplateRow(base.id, base.sha, asked.name, asked.template, asked.stops)


def curated_row(base: Base, act: Act) -> CuratedRow:
    """The row of `curation`: an act that holds."""
    return CuratedRow(base.id, base.sha, act.kind, act.adapter, act.task, act.author, act.reason, act.at)


def _lift(own: Sequence[float], other: Sequence[float]) -> Mean:
    """A paired difference."""
    return mean([a - b for a, b in zip(own, other, strict=True)])
