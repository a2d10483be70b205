"""What a snapshot says of how its tasks and its adapters are asked.

Knows: the columns of the snapshot's `tasks`, and the formats of `best` and `scores`. Does not know: what is asked.
"""

from __future__ import annotations

from dataclasses import dataclass

from catalog.formats.filled import FilledFormat, filled
from catalog.formats.table import formats
from warehouse.records.published import BestRow, ScoreRow, read_published
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

    Who is not there was asked in the task's own template. `scores` has names alone: the text of a format that is in no
    table is known where somebody is published in it.
    """
    rows = [row for row in read_published(snapshot, ScoreRow, base) if row.format]
    if not rows:
        return {}
    texts = {one.name: one for format_ in formats().values() if (one := filled(format_))}
    for best in read_published(snapshot, BestRow, base):
        if best.format and best.template:
            texts[best.format] = FilledFormat(best.format, best.template, tuple(best.stops or ()))
    return {(row.task, row.adapter): texts[row.format] for row in rows if row.format in texts}
