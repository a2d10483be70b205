"""Results of a query as a table, CSV or JSON. Knows DuckDB's results; does not know which views there are."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Sequence
from typing import IO, Any

from flows.home import Home
from flows.report import console, printable
from warehouse.snapshots import Snapshot, current_snapshot
from warehouse.sql import connect, run

_ROWS = 10_000  # fetched at a time


def print_result(home: Home, query: str, form: str, out: IO[str]) -> None:
    """Run a query over the home and print it."""
    with connect(_snapshot(home), home.ledger) as connection:
        cursor = run(connection, query)
        names = [column[0] for column in cursor.description or ()]
        print_rows(names, _rows(cursor), form, out)


def print_rows(names: Sequence[str], rows: Iterable[Sequence[Any]], form: str, out: IO[str]) -> None:
    """Rows as a table, as CSV with a head, or as JSON, an object a line."""
    if form == "csv":
        writer = csv.writer(out)
        writer.writerow(names)
        writer.writerows(rows)
    elif form == "json":
        for row in rows:
            out.write(json.dumps(dict(zip(names, row, strict=True)), default=str) + "\n")
    else:
        _print_table(names, rows, out)


def _rows(cursor: Any) -> Iterator[Sequence[Any]]:
    while rows := cursor.fetchmany(_ROWS):
        yield from rows


def _snapshot(home: Home) -> Snapshot | None:
    """The published snapshot; before the first one the ledger alone can be queried."""
    if not (home.snapshots / "current").exists():
        return None
    return current_snapshot(home.snapshots)


def _print_table(names: Sequence[str], rows: Iterable[Sequence[Any]], out: IO[str]) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table()
    for name in names:
        table.add_column(Text(name), overflow="fold")
    for row in rows:
        table.add_row(*(Text(printable(_short(value))) for value in row))
    console(out).print(table)


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
