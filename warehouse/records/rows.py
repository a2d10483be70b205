"""Records as rows: a frozen dataclass whose fields are the columns of a table.

Knows: that a field is called as its column is. Does not know: any table.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import fields
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


def as_rows(records: Iterable[DataclassInstance]) -> Iterator[dict[str, Any]]:
    """Each record's fields by name, one record at a time; values are not copied."""
    for record in records:
        yield {field.name: getattr(record, field.name) for field in fields(record)}
