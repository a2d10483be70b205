"""Fallback: the index of a snapshot some of whose adapters can no longer be had.

Knows: which adapter was next best for a task. Does not know: why one is gone, how a router weighs.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import TYPE_CHECKING

from lorauter.routing.task_index import TaskIndex
from warehouse.records.published import ScoreRow, read_published

if TYPE_CHECKING:
    from warehouse.snapshots.snapshot import Snapshot


def without(index: TaskIndex, snapshot: Snapshot, gone: Collection[str]) -> TaskIndex:
    """The index with the task's next best adapter in the place of each that is gone.

    Next best: the highest selection mean among those with lift over the base, then most examples, then the first key;
    the base where there is none.
    """
    if not gone:
        return index
    rows = read_published(snapshot, ScoreRow, index.base)
    left = [row for row in rows if row.adapter and row.adapter not in gone and row.lift > 0]
    first: dict[str, str] = {}
    for row in sorted(left, key=lambda row: (-row.mean, -row.n, row.adapter)):
        first.setdefault(row.task, row.adapter)
    best = tuple(
        first.get(task, "") if adapter in gone else adapter
        for task, adapter in zip(index.tasks, index.best, strict=True)
    )
    declared = tuple(None if own in gone else own for own in index.declared)
    return replace(index, best=best, declared=declared)
