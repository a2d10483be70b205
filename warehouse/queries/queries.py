"""Queries of a file, as a stream: checked row by row, never all in memory.

Knows: what a query row may hold. Does not know: routes, answers.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from catalog.errors import SettingError
from catalog.tasks.metrics import METRICS
from catalog.tasks.task import content_hash
from warehouse.storage.row_files import is_text, read_rows, whole_number

MOST_NEW_TOKENS = 4096
NEW_TOKENS = 32


@dataclass(frozen=True, slots=True)
class Query:
    """One query. `task`, `target` and `metric` are known for evaluation queries only.

    Args:
        fault: what is wrong with its row, "" where nothing is; it is not answered then.
    """

    id: str
    input: str
    max_new_tokens: int = NEW_TOKENS
    task: str | None = None
    target: str | None = None
    metric: str | None = None
    fault: str = ""


def read_queries(path: Path, max_new_tokens: int = NEW_TOKENS) -> Iterator[Query]:
    """Queries in the order of the file; a row that is no query becomes one with a fault.

    Args:
        max_new_tokens: bound of the answers of rows that name none.

    Raises TaskError where the file itself cannot be read, SettingError where it holds no row.
    """
    number = 0
    for number, row in read_rows(path):
        yield _query(number, row, max_new_tokens)
    if not number:
        raise SettingError(f"{path} holds no queries.", "Give at least one row with a field input.")


def check_new_tokens(bound: int) -> None:
    """Raise SettingError for a bound of answers that is out of range."""
    if not isinstance(bound, int) or not 1 <= bound <= MOST_NEW_TOKENS:
        raise SettingError(f"max_new_tokens is {bound!r}.", f"Use 1 to {MOST_NEW_TOKENS}.")


def _query(number: int, row: dict[str, Any], bound: int) -> Query:
    given, text = row.get("id"), row.get("input")
    fault = _fault(row)
    return Query(
        id=str(given) if given not in (None, "") and is_text(str(given)) else content_hash([number, str(text)]),
        input=_text(text) or "",
        max_new_tokens=bound if fault else whole_number(_bound(row, bound)) or bound,
        task=_text(row.get("task")),
        target=_text(row.get("target")),
        metric=None if fault else _text(row.get("metric")),
        fault=f"row {number}: {fault}" if fault else "",
    )


def _bound(row: dict[str, Any], bound: int = NEW_TOKENS) -> Any:
    given = row.get("max_new_tokens")
    is_gap = isinstance(given, float) and math.isnan(given)  # what pandas writes into a column of numbers
    return bound if is_gap or given in (None, "") else given


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and is_text(value) else None


def _fault(row: dict[str, Any]) -> str:
    """What is wrong with a row."""
    text, bound, metric = row.get("input"), _bound(row), row.get("metric")
    if not is_text(text) or not str(text).strip():
        return "field input must be text that is not empty."
    if not 1 <= (whole_number(bound) or 0) <= MOST_NEW_TOKENS:
        return f"field max_new_tokens is {str(bound)[:40]!r}: use 1 to {MOST_NEW_TOKENS}."
    if metric is not None and not (isinstance(metric, str) and metric in METRICS and METRICS[metric].needs == "text"):
        of_texts = [name for name, one in METRICS.working() if one.needs == "text"]
        return f"field metric is {str(metric)[:40]!r}: use one of {', '.join(of_texts)}."
    for field in ("task", "target"):
        if row.get(field) is not None and not is_text(row[field]):
            return f"field {field} must be text."
    return ""
