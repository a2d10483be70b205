"""Rows of the table `rungs`: where an adapter came to in a rung of a race.

Knows: the columns, in the ledger and in a snapshot. Does not know: how races are run (lorauter/racing).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
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


def read_rungs(ledger: Ledger, base: str, races: Sequence[str]) -> dict[str, list[RungRow]]:
    """The rows of these races by name, in the order of their rungs."""
    columns = [field.name for field in fields(RungRow)]
    rows: dict[str, list[RungRow]] = {}
    for row in ledger.where("rungs", {"base": base, "race": races}, columns):
        rows.setdefault(row["race"], []).append(RungRow(**row))
    return {race: sorted(of_race, key=lambda row: row.rung) for race, of_race in rows.items()}


def keep_rungs(ledger: Ledger, base: Base, rows: Iterable[RungRow]) -> None:
    """Add rows of rungs that are over, stamped with the time."""
    ledger.stamp("rungs", _of_base(base, rows))


def published_rungs(base: Base, rows: Iterable[RungRow]) -> pa.Table:
    """The same as a snapshot holds them."""
    return table_of(_of_base(base, rows), SNAPSHOT["rungs"][0])


def _of_base(base: Base, rows: Iterable[RungRow]) -> Iterator[dict[str, Any]]:
    for row in as_rows(rows):
        yield {"base": base.id, "base_sha": base.sha, **row}
