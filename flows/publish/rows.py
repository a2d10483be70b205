"""Scores as the snapshot's rows: the winner's report, and where every adapter of a race came to.

Knows: columns of `best` and `scores`, paired differences and their errors. Does not know: how scores come about.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from catalog.adapters.adapter import AdapterId
from catalog.curation import BAN, Curation
from catalog.rules.table import Base
from catalog.tasks.metrics import Mean, mean
from flows.score.score import TaskScores
from lorauter.racing.race import BASE


def best_row(base: Base, scores: TaskScores) -> dict[str, Any]:
    """The row of `best`: the task's published adapter, on the examples that chose nothing."""
    adapter = AdapterId.parse(scores.best) if scores.best else None
    report, own = scores.report, mean(scores.report.own)
    selected = mean(scores.race.scores[scores.best])
    return {
        "base": base.id,
        "base_sha": base.sha,
        "task": scores.task.name,
        "adapter": scores.best,
        "repo": adapter.repo if adapter else None,
        "path": adapter.path if adapter else None,
        "sha": adapter.sha if adapter else None,
        "score": own.mean,
        "standard_error": own.standard_error,
        "n": own.n,
        "base_score": mean(report.base).mean,
        **_lift("lift", report.own, report.base),
        "majority_score": mean(report.majority).mean,
        **_lift("lift_over_majority", report.own, report.majority),
        "shuffled_score": mean(report.shuffled).mean,
        **_lift("lift_over_shuffled", report.own, report.shuffled),
        "curation": _decision(scores),
        "selection_score": selected.mean,
        "selection_n": selected.n,
    }


def _decision(scores: TaskScores) -> str | None:
    """A person's decision; a ban is that of the race's winner, and not of the adapter that came in its place."""
    act = scores.decided
    if act is None or act.kind != BAN:
        return str(act) if act else None
    return f"in place of {AdapterId.parse(scores.race.best).name}, {act}"


def score_rows(base: Base, scores: TaskScores, curation: Curation) -> list[dict[str, Any]]:
    """The rows of `scores`: every adapter that met an example, on the examples that it met. Who is banned has none."""
    race = scores.race
    last = {row["adapter"]: row for row in race.rows}
    rows = []
    for key, values in race.scores.items():
        if not values or key not in last or (key and curation.ban(key, scores.task.name)):
            continue
        result, both = mean(values), min(len(values), len(race.scores[BASE]))
        rows.append(
            {
                "base": base.id,
                "base_sha": base.sha,
                "task": scores.task.name,
                "adapter": key,
                "n": result.n,
                "mean": result.mean,
                "standard_error": result.standard_error,
                **_lift("lift", values[:both], race.scores[BASE][:both]),
                "lift_n": both,
                "rung": last[key]["rung"],
                "chosen": key == scores.best,
                "why": last[key]["why"],
            }
        )
    return rows


def _lift(name: str, own: Sequence[float], other: Sequence[float]) -> dict[str, float]:
    """Mean and standard error of a paired difference."""
    found: Mean = mean([a - b for a, b in zip(own, other, strict=True)])
    return {name: found.mean, f"{name}_standard_error": found.standard_error}
