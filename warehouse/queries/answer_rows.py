"""Rows of a file of answers: what one router said to one query.

Knows: the columns of schemas.ANSWERS. Does not know: how answers come about.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import pyarrow as pa

from warehouse.schemas.answers import ANSWERS
from warehouse.schemas.columns import table_of


@dataclass(frozen=True, slots=True)
class RoutedTask:
    """A task of the query's route, nearest first."""

    task: str
    similarity: float
    weight: float


@dataclass(frozen=True, slots=True)
class UsedAdapter:
    """An adapter that took part, and its weight; None where a gate weighs token by token."""

    adapter: str
    weight: float | None


@dataclass(frozen=True, slots=True)
class Fallback:
    """A task of the route whose adapter `gone` has vanished or is filtered out, and the one used in its place."""

    task: str
    gone: str
    used: str


@dataclass(frozen=True, slots=True)
class PolicyChoice:
    """How a policy that learns came to its adapter. The fields are columns of schemas.POLICY_ANSWERS."""

    policy: str
    policy_version: int
    context: tuple[float, ...]
    propensity: float
    resident: bool


@dataclass(frozen=True, slots=True)
class AnswerRow:
    """One answer. The fields are the columns of schemas.ANSWERS, which says what each holds; `choice` has more."""

    id: str
    router: str
    input: str
    text: str | None
    tasks: tuple[RoutedTask, ...]
    adapters: tuple[UsedAdapter, ...]
    composition: str | None
    decoding: str
    confidence: float
    task: str | None
    target: str | None
    metric: str | None
    score: float | None
    error: str | None
    snapshot: str
    fallbacks: tuple[Fallback, ...] = ()
    route_seconds: float | None = None
    answer_seconds: float | None = None
    choice: PolicyChoice | None = None


def answers_table(rows: Iterable[AnswerRow], schema: pa.Schema = ANSWERS) -> pa.Table:
    """The rows as a table of schemas.ANSWERS, or of POLICY_ANSWERS, which says what a policy chose too."""
    return table_of(map(_columns, rows), schema)


def _columns(row: AnswerRow) -> dict[str, Any]:
    columns = asdict(row)
    choice = columns.pop("choice") or {}
    return {**columns, **choice}
