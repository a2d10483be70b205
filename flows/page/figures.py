"""What the page says without a script: the tables that are part of its text.

Knows: which rows each static table has, how many are shown. Does not know: HTML.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from catalog.adapters.adapter import AdapterId
from flows.page.rows import ChangeRow, Tables, TaskRow
from flows.page.text import shown

MOST_CHANGES = 300
MOST_RUNS = 20


@dataclass(frozen=True, slots=True)
class TaskLine:
    """A task of the table of tasks: what it publishes, in thousandths, and where the page tells of that adapter.

    A format that is "" is the task's own template.
    """

    task: str
    metric: str
    adapter: str
    anchor: str | None
    score: int | None
    error: int | None
    n: int | None
    base_score: int | None
    lift: int | None
    lift_error: int | None
    over_majority: int | None
    status: str
    empty: int | None
    cut: int | None
    base_empty: int | None
    format: str
    base_format: str


def figures(tables: Tables) -> dict[str, Any]:
    """All static figures: by base, and those of the whole home."""
    changes = _changes(tables.changes)
    return {
        "bases": [_of_base(number, base, tables) for number, base in enumerate(tables.bases)],
        "changes": changes,
        "changed_formats": any(row.format_before or row.format for row in changes),
        "counts": dict(sorted(Counter(row.change or "changed" for row in tables.changes).items())),
        "runs": [
            replace(run, base=shown(run.base), command=shown(run.command)) for run in tables.runs[-MOST_RUNS:][::-1]
        ],
        "ages": tables.ages,
    }


def _of_base(number: int, base: str, tables: Tables) -> dict[str, Any]:
    keys = [row.adapter for row in tables.adapters if row.base == base]
    anchors = {key: f"adapter-{number}-{place}" for place, key in enumerate(keys)}
    tasks = [_task(row, anchors) for row in tables.tasks if row.base == base]
    return {
        "number": number,
        "base": shown(base),
        "funnel": next((row for row in tables.funnel if row.base == base), None),
        "reasons": [
            replace(row, reason=shown(row.reason), example=shown(AdapterId.parse(row.example).name, 120))
            for row in tables.reasons
            if row.base == base
        ],
        "licences": [replace(row, licence=shown(row.licence, 80)) for row in tables.licences if row.base == base],
        "tasks": sorted(tasks, key=lambda line: (-(line.lift or 0), line.task)),
        "helped": sum(bool(line.adapter) for line in tasks),
        "in_formats": any(line.format or line.base_format for line in tasks),
    }


def _task(row: TaskRow, anchors: Mapping[str, str]) -> TaskLine:
    return TaskLine(
        task=shown(row.task),
        metric=shown(row.metric),
        adapter=shown(AdapterId.parse(row.adapter).name) if row.adapter else "",
        anchor=anchors.get(row.adapter or ""),
        score=row.score,
        error=row.error,
        n=row.n,
        base_score=row.base_score,
        lift=row.lift,
        lift_error=row.lift_error,
        over_majority=row.over_majority,
        status=shown(row.status),
        empty=row.empty,
        cut=row.cut,
        base_empty=row.base_empty,
        format=shown(row.format),
        base_format=shown(row.base_format),
    )


def _changes(rows: Sequence[ChangeRow]) -> list[ChangeRow]:
    """Those first that changed what a task publishes."""
    ordered = sorted(rows, key=lambda row: (row.chosen_before == row.chosen, row.change or "", row.task, row.adapter))
    return [
        replace(
            row,
            task=shown(row.task),
            adapter=shown(AdapterId.parse(row.adapter).name) or "(base)",
            format_before=shown(row.format_before),
            format=shown(row.format),
        )
        for row in ordered[:MOST_CHANGES]
    ]
