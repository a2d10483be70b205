"""Which tasks publish in another prompt format than they did in an earlier snapshot, and how the base is asked.

Knows: the rows of `best` of two snapshots. Does not know: who rose and fell (warehouse/snapshots/diff), how it is told.
"""

from __future__ import annotations

from dataclasses import dataclass

from warehouse.records.published import BestRow, read_published
from warehouse.snapshots.snapshot import Snapshot


@dataclass(frozen=True, slots=True)
class FormatChange:
    """A task of both snapshots whose formats differ; None is the task's own template.

    Args:
        base: id of the base.
        task: its name.
        adapters: key of the published adapter before and now, "" for the base.
        formats: name of the format that it was asked in, before and now.
        base_formats: of the format that the base was asked in.
    """

    base: str
    task: str
    adapters: tuple[str, str]
    formats: tuple[str | None, str | None]
    base_formats: tuple[str | None, str | None]


def format_changes(before: Snapshot, now: Snapshot) -> list[FormatChange]:
    """The tasks of both snapshots whose published format, or whose base's, is another one; by base and task."""
    old = {(row.base, row.task): row for row in read_published(before, BestRow)}
    pairs = [(old[row.base, row.task], row) for row in read_published(now, BestRow) if (row.base, row.task) in old]
    told = [
        FormatChange(
            row.base,
            row.task,
            (was.adapter, row.adapter),
            (was.format, row.format),
            (was.base_format, row.base_format),
        )
        for was, row in pairs
    ]
    return [one for one in told if len({*one.formats}) > 1 or len({*one.base_formats}) > 1]
