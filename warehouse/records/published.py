"""Rows that a publish makes: what a snapshot says of tasks, their inputs, their best adapter and every score.

Knows: the columns of these tables, which warehouse/schemas/snapshot explains, and how a person's ban overlays a
verdict. Does not know: how scores come about.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime
from typing import TypeVar

import pyarrow as pa

from catalog.adapters.adapter import Finding
from catalog.curation import Act
from catalog.duplicates import Key
from warehouse.ledger.ledger import Ledger
from warehouse.records.rows import as_rows
from warehouse.records.verdicts import PoolVerdicts, row_of_verdict
from warehouse.schemas.columns import table_of
from warehouse.schemas.ledger import LEDGER
from warehouse.schemas.snapshot import SNAPSHOT, SOURCES
from warehouse.snapshots.snapshot import Snapshot


@dataclass(frozen=True, slots=True)
class TaskRow:
    """A task as it was scored, with its embedding: a row of `tasks`."""

    base: str
    base_sha: str
    task: str
    task_hash: str
    metric: str
    template: str
    max_new_tokens: int
    description: str
    declared: str | None
    n_validation: int
    majority: str
    majority_score: float
    encoder: str
    encoder_sha: str
    encoder_prompt: str
    encoder_hash: str
    embedding: Sequence[float]


@dataclass(frozen=True, slots=True)
class InputRow:
    """A validation input of a task with its embedding: a row of `inputs`."""

    base: str
    base_sha: str
    task: str
    number: int
    input: str
    target: str
    embedding: Sequence[float]


@dataclass(frozen=True, slots=True)
class BestRow:
    """A task's published adapter, on examples that did not choose it: a row of `best`."""

    base: str
    base_sha: str
    task: str
    adapter: str
    repo: str | None
    path: str | None
    sha: str | None
    score: float
    standard_error: float
    n: int
    base_score: float
    lift: float
    lift_standard_error: float
    majority_score: float
    lift_over_majority: float
    lift_over_majority_standard_error: float
    shuffled_score: float
    lift_over_shuffled: float
    lift_over_shuffled_standard_error: float
    curation: str | None
    selection_score: float
    selection_n: int
    empty: int | None
    cut: int | None
    base_empty: int | None
    base_cut: int | None
    confirmed: bool | None
    set_aside: str | None
    format: str | None = None
    template: str | None = None
    stops: Sequence[str] | None = None
    base_format: str | None = None


@dataclass(frozen=True, slots=True)
class ScoreRow:
    """An adapter on the examples of a task that it met: a row of `scores`."""

    base: str
    base_sha: str
    task: str
    adapter: str
    n: int
    mean: float
    standard_error: float
    lift: float
    lift_standard_error: float
    lift_n: int
    rung: int
    chosen: bool
    why: str
    empty: int | None
    cut: int | None
    format: str | None = None


@dataclass(frozen=True, slots=True)
class TemplateRow:
    """The texts of a prompt format that something was scored in: a row of `templates`."""

    base: str
    base_sha: str
    format: str
    template: str
    stops: Sequence[str]


@dataclass(frozen=True, slots=True)
class CuratedRow:
    """What a person decided, and the snapshot honours: a row of `curation`."""

    base: str
    base_sha: str
    kind: str
    adapter: str
    task: str
    author: str
    reason: str
    decided: datetime


def published(
    table: str, rows: Iterable[TaskRow | InputRow | BestRow | ScoreRow | TemplateRow | CuratedRow]
) -> pa.Table:
    """Rows as a part of a snapshot's table."""
    return table_of(as_rows(rows), SNAPSHOT[table][0])


@dataclass(frozen=True, slots=True)
class AdapterRow:
    """What readers of a snapshot ask about an adapter that was seen: some columns of `adapters`."""

    base: str
    adapter: str
    admitted: bool
    licence: str | None = None
    size: int | None = None
    rank: int | None = None
    downloads: int | None = None
    dora: bool | None = None


_Row = TypeVar("_Row", TaskRow, InputRow, BestRow, ScoreRow, TemplateRow, AdapterRow)
_TABLES: dict[type, str] = {
    TaskRow: "tasks",
    InputRow: "inputs",
    BestRow: "best",
    ScoreRow: "scores",
    TemplateRow: "templates",
    AdapterRow: "adapters",
}


def read_published(snapshot: Snapshot, kind: type[_Row], base: str | None = None) -> list[_Row]:
    """The rows of a snapshot's table in key order; what an older version did not write is None.

    Args:
        kind: of the rows, which says the table and the columns that are read.
        base: only the rows of this base model.
    """
    columns = [field.name for field in fields(kind)]
    return [kind(**row) for row in snapshot.rows(_TABLES[kind], columns, base)]


def published_verdicts(verdicts: PoolVerdicts, bans: Mapping[Key, Act]) -> Iterator[pa.Table]:
    """Verdicts as a snapshot's `adapters` holds them: the rules', unless a person banned the adapter.

    Args:
        bans: by key of the verdict.
    """
    yield from verdicts.tables(key for key in verdicts.keys if key not in bans)
    banned = []
    for verdict in verdicts.of(bans):
        findings = (Finding("banned", str(bans[verdict.key])), *verdict.findings)
        banned.append(row_of_verdict(replace(verdict, findings=findings)))
    yield table_of(banned, SNAPSHOT["adapters"][0])


def sources(ledger: Ledger) -> pa.Table:
    """The ledger's fragments that there are: what a snapshot was made from."""
    return table_of(({"table": table, "fragment": name} for table in LEDGER for name in ledger.names(table)), SOURCES)
