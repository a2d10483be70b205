"""Answers to queries as a table, CSV, JSON lines or Parquet, on stdout or in a file.

Knows: DuckDB's results, how values look in each form. Does not know: which views there are (warehouse/snapshots/views).
"""

from __future__ import annotations

import csv
import json
import math
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from itertools import count, islice
from pathlib import Path
from typing import IO, Any

import click

from catalog.errors import SettingError
from flows.home.home import Home
from flows.home.parts import ledger_of, snapshot_of
from flows.screen.screen import Screen, printable
from flows.screen.tables import Column, Table
from warehouse.snapshots.pointer import is_published
from warehouse.sql.session import connect, connect_to_write, names, run, telling_names, write_parquet
from warehouse.storage.files import write_atomically

_ROWS = 10_000  # fetched at a time
_SHOWN = 1_000  # rows of a table
_CELL = 10  # letters that a column of a table asks for at most
_BETWEEN = 3  # letters between two columns
Row = Sequence[Any]


@dataclass(frozen=True, slots=True)
class SqlOptions:
    """How an answer is told.

    Args:
        form: table, csv, json or parquet.
        out: file to write, None is stdout.
        write: whether the query may create tables in memory, and files in the current folder.
        as_of: the snapshot, as `Home.snapshot`; the published one where left out.
    """

    form: str = "table"
    out: Path | None = None
    write: bool = False
    as_of: str | None = None


def answer(home: Home, query: str, options: SqlOptions) -> None:
    """Run a query over the home and print or write its answer."""
    with _session(home, options) as connection:
        if options.form == "parquet":
            _to_bytes(options.out, lambda sink: write_parquet(connection, query, sink, options.write))
            return
        with telling_names(connection):
            result = run(connection, query, options.write)
            _to_text(options, [column[0] for column in result.description or ()], _rows(result))


def print_rows(columns: Sequence[str], rows: Iterable[Row], form: str) -> None:
    """Print rows that no query gave, as `answer` does: table, csv or json."""
    _to_text(SqlOptions(form), list(columns), iter(rows))


def list_names(home: Home, options: SqlOptions) -> None:
    """Print the names that can be asked, each with its question."""
    with _session(home, options) as connection:
        if options.form == "parquet":
            raise SettingError("The list of names is a text.", "Ask `FROM views` for it as Parquet.")
        _to_text(options, ["name", "question"], iter(names(connection)))


def _session(home: Home, options: SqlOptions) -> Any:
    """Over the published snapshot, or that of another day; before the first one the ledger alone can be asked."""
    snapshot = snapshot_of(home, options.as_of) if options.as_of or is_published(home.snapshots) else None
    return (
        connect_to_write(snapshot, ledger_of(home), Path.cwd()) if options.write else connect(snapshot, ledger_of(home))
    )


def _rows(result: Any) -> Iterator[Row]:
    while rows := result.fetchmany(_ROWS):
        yield from rows


def _to_bytes(out: Path | None, write: Callable[[IO[bytes]], None]) -> None:
    if out is None:
        with _reader_may_leave():
            write(sys.stdout.buffer)
        return

    def fill(part: Path) -> None:
        with part.open("wb") as file:
            write(file)

    write_atomically(out, fill)


def _to_text(options: SqlOptions, columns: list[str], rows: Iterator[Row]) -> None:
    show = {"table": _show, "csv": _write_csv, "json": _write_json}[options.form]
    if options.out is None:
        with _reader_may_leave():
            show(columns, rows, sys.stdout)
        return

    def fill(part: Path) -> None:
        with part.open("w", encoding="utf-8", newline="") as file:
            show(columns, rows, file)

    write_atomically(options.out, fill)


@contextmanager
def _reader_may_leave() -> Iterator[None]:
    """A reader of stdout that has seen enough, as `head` does, is no error; what is left goes nowhere."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _write_csv(columns: list[str], rows: Iterator[Row], out: IO[str]) -> None:
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([_cell(value) for value in row] for row in rows)


def _write_json(columns: list[str], rows: Iterator[Row], out: IO[str]) -> None:
    keys = _distinct(columns)
    for row in rows:
        out.write(json.dumps(dict(zip(keys, map(_plain, row), strict=True)), default=str) + "\n")


def _distinct(columns: list[str]) -> list[str]:
    """Names of columns as an object can hold them: a second `a` becomes `a_1`."""
    keys: dict[str, None] = {}
    for column in columns:
        free = (name for n in count() if (name := f"{column}_{n}" if n else column) not in keys)
        keys[next(free)] = None
    return list(keys)


def _cell(value: Any) -> Any:
    """A value as CSV holds it: lists and objects as JSON, truth as true and false."""
    if isinstance(value, list | tuple | dict | bool):
        return json.dumps(_plain(value), default=str)
    return value


def _plain(value: Any) -> Any:
    """A value as JSON holds it: no number that is none, dates in ISO 8601."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return value.isoformat() if isinstance(value, date) else value


def _show(columns: list[str], rows: Iterator[Row], out: IO[str]) -> None:
    """As a table, or, where that is too wide, a row after the other."""
    shown = [[printable(_short(value)) for value in row] for row in islice(rows, _SHOWN)]
    headings = [printable(column) for column in columns]
    where = Screen(out)
    widths = [max(map(len, column)) for column in zip(headings, *shown, strict=True)]
    if sum(min(width, _CELL) + _BETWEEN for width in widths) < where.width:
        where.print(Table([Column(name, breaks="anywhere") for name in headings], shown))
    else:
        _show_rows(headings, shown, out)
    if next(rows, None) is not None:
        click.echo(f"The first {_SHOWN:,} rows. --format csv, json or parquet gives all.", err=True)


def _show_rows(columns: list[str], rows: list[list[str]], out: IO[str]) -> None:
    width = max(map(len, columns))
    for number, row in enumerate(rows, 1):
        out.write(f"── row {number} ──\n")
        for column, value in zip(columns, row, strict=True):
            out.write(f"{column:{width}}  " + value.replace("\n", "\n" + " " * (width + 2)) + "\n")


def _short(value: object) -> str:
    if value is None:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
