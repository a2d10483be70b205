"""Rows of the table `rungs`: where an adapter came to in a rung of a race.

Knows: the columns, in the ledger and in a snapshot. Does not know: how races are run (lorauter/racing).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any

import pyarrow as pa

from catalog.bases.base import Base
from warehouse.ledger.ledger import Ledger
from warehouse.records.rows import as_rows
from warehouse.schemas.columns import table_of
from warehouse.schemas.snapshot import SNAPSHOT


@dataclass(frozen=True, slots=True)
class RungRow:
    """An adapter after a rung of a task's race.

    Args:
        task: name of the task.
        task_hash: hash of all that the task is.
        race: hash of task, conditions and strategy.
        rung: number, from 1.
        adapter: key, "" for the base alone.
        n: examples that it has met so far.
        mean: cumulative mean of the metric on them.
        standard_error: of the mean.
        kept: whether it went on to the next rung, or won.
        why: why it went no further, or what it leads by.
        refused_by: version of the engine that cannot run it; None where it ran, and in older rows.
        format: name of the prompt format that it was asked in; None: the task's own, as in older rows.
    """

    task: str
    task_hash: str
    race: str
    rung: int
    adapter: str
    n: int
    mean: float
    standard_error: float
    kept: bool
    why: str
    refused_by: str | None = None
    format: str | None = None


_FIELDS = tuple(field.name for field in fields(RungRow))


def read_rungs(ledger: Ledger, base: str, races: Sequence[str]) -> dict[str, list[RungRow]]:
    """The rows of these races by name, in the order of their rungs."""
    rows: dict[str, list[RungRow]] = {}
    for row in ledger.where("rungs", {"base": base, "race": races}, _FIELDS):
        rows.setdefault(row["race"], []).append(RungRow(**row))
    return {race: sorted(of_race, key=lambda row: row.rung) for race, of_race in rows.items()}


def last_rungs(ledger: Ledger, adapters: Collection[str]) -> list[RungRow]:
    """The last rung of these adapters in every task's race, of several races the last, in the order of time."""
    index = ledger.index("rungs")
    stored = index.rows(key for key in index if key[-1] in adapters)
    names = ("base", "base_sha", "task", "task_hash", "race", "adapter")  # a race is null in rows of an older version
    last: dict[tuple[str, str, str], RungRow] = {}
    for row in sorted(stored, key=lambda row: (row["at"], row["rung"], [str(row[name]) for name in names])):
        last[row["base"], row["task"], row["adapter"]] = RungRow(**{name: row[name] for name in _FIELDS})
    return list(last.values())


def raced_pairs(ledger: Ledger, base: str, task_hashes: Collection[str]) -> set[tuple[str, str]]:
    """The pairs of task (its hash) and adapter that met in a race."""
    asked = {"base": base, "task_hash": sorted(task_hashes)}
    rows = ledger.where("rungs", asked, ["task_hash", "adapter"]) if task_hashes else ()
    return {(row["task_hash"], row["adapter"]) for row in rows}


def keep_rungs(ledger: Ledger, base: Base, rows: Iterable[RungRow]) -> None:
    """Add rows of rungs that are over, stamped with the time."""
    ledger.stamp("rungs", _of_base(base, rows))


def published_rungs(base: Base, rows: Iterable[RungRow]) -> pa.Table:
    """The same as a snapshot holds them."""
    return table_of(_of_base(base, rows), SNAPSHOT["rungs"][0])


def _of_base(base: Base, rows: Iterable[RungRow]) -> Iterator[dict[str, Any]]:
    for row in as_rows(rows):
        yield {"base": base.id, "base_sha": base.sha, **row}
