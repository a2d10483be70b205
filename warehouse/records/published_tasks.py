"""What a snapshot says of how its tasks and its adapters are asked.

Knows: the columns of the snapshot's `tasks`, and the formats of `best` and `scores`. Does not know: what is asked.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from catalog.formats.detect import Evidence
from catalog.formats.filled import FilledFormat, filled
from catalog.formats.table import formats
from catalog.formats.tried import evidence_named
from warehouse.records.formats import read_published_formats
from warehouse.records.published import BestRow, ScoreRow, TemplateRow, read_published
from warehouse.snapshots.snapshot import Snapshot


@dataclass(frozen=True, slots=True)
class AskedTask:
    """How a published task is asked.

    Args:
        template: prompt template with {input}.
        majority: the most frequent target of its validation examples.
    """

    template: str
    majority: str


def asked_tasks(snapshot: Snapshot, base: str) -> dict[str, AskedTask]:
    """The tasks of a base by name; examples, and so the majority, may differ by base."""
    rows = (row for row in snapshot.read("tasks") if row["base"] == base)
    return {row["task"]: AskedTask(row["template"], row["majority"]) for row in rows}


def asked_formats(snapshot: Snapshot, base: str) -> dict[tuple[str, str], FilledFormat]:
    """The format that an adapter ("" for the base) was scored in on a task, by (task, adapter).

    Who is not there was asked in the task's own template.
    """
    rows = [row for row in read_published(snapshot, ScoreRow, base) if row.format]
    if not rows:
        return {}
    texts = _texts(snapshot, base)
    return {(row.task, row.adapter): texts[row.format] for row in rows if row.format in texts}


def scored_evidence(snapshot: Snapshot, base: str) -> Callable[[str, str | None], Evidence | None]:
    """Tells, of an adapter and the name of the format that it was scored in, the evidence that speaks for that format.

    None where no published evidence does, and for the task's own template (no name).
    """
    every = read_published_formats(snapshot, base)

    def of(adapter: str, format_: str | None) -> Evidence | None:
        return evidence_named(every.get(adapter, ()), format_, base) if format_ else None

    return of


def _texts(snapshot: Snapshot, base: str) -> dict[str, FilledFormat]:
    """The formats that `scores` names.

    What a publish of an older version wrote has no `templates`: the text of a format that is in no table is known there
    where somebody is published in it.
    """
    texts = {one.name: one for format_ in formats().values() if (one := filled(format_))}
    for best in read_published(snapshot, BestRow, base):
        if best.format and best.template:
            texts[best.format] = FilledFormat(best.format, best.template, tuple(best.stops or ()))
    for row in read_published(snapshot, TemplateRow, base) if snapshot.holds("templates") else ():
        texts[row.format] = FilledFormat(row.format, row.template, tuple(row.stops))
    return texts
