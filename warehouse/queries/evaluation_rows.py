"""Rows of an evaluation's items.parquet: what one system said to one test example.

Knows: the columns of schemas.EVALUATION_ITEMS. Does not know: how an evaluation goes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass

import pyarrow as pa

from warehouse.queries.answer_rows import UsedAdapter
from warehouse.schemas.answers import EVALUATION_ITEMS
from warehouse.schemas.columns import table_of


@dataclass(frozen=True, slots=True)
class ItemRow:
    """One answer. The fields are the columns of schemas.EVALUATION_ITEMS, which says what each holds."""

    setting: str
    router: str
    composition: str
    task: str
    id: str
    text: str | None
    score: float
    error: str | None
    adapters: tuple[UsedAdapter, ...]
    tasks: tuple[str, ...]
    format: str | None = None


def items_table(rows: Iterable[ItemRow]) -> pa.Table:
    """The rows as a table."""
    return table_of(map(asdict, rows), EVALUATION_ITEMS)
