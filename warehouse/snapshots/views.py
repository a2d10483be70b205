"""The named views of a snapshot: what people ask, each with its question, its columns and its SQL (views.sql).

Knows: how views.sql is written, which views are made when a snapshot is published and kept as Parquet beside it, how
views come into a DuckDB. Does not know: how tables become files (warehouse/snapshots), who may ask (warehouse/sql).

A block of views.sql is a view: comment lines that ask its question, a line `--   column: meaning` for each column
that its name does not explain, `-- kept` for one that is made when publishing, then its definition. A kept view reads
`views/NAME.parquet`, which pandas and polars read too; a snapshot without that file answers from the definition. A
view over a table that a snapshot of an older version lacks is left out, and a column that a table lacks reads as null.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path

import duckdb
import pyarrow as pa

from warehouse.schemas.snapshot import ASIDE, SNAPSHOT
from warehouse.snapshots.manifest import VIEWS
from warehouse.storage.files import column_names, write_atomically
from warehouse.storage.parquet_sources import Source, by_duckdb, quoted

_HEAD = "-- Named views over a snapshot. Run in the snapshot's folder: duckdb -init views.sql\n"
_NAME = re.compile(r"CREATE OR REPLACE VIEW (\w+) AS\s")
_TABLES = {name: schema for name, (schema, _) in {**SNAPSHOT, **ASIDE}.items()}
_COLUMN = re.compile(r"--   (\w+): (.+)")


@dataclass(frozen=True, slots=True)
class View:
    """A named view.

    Args:
        question: that it answers.
        columns: name → meaning, of those that need one.
        kept: whether it is made when publishing.
        definition: its SELECT.
    """

    name: str
    question: str
    columns: dict[str, str]
    kept: bool
    definition: str

    @property
    def file(self) -> str:
        """Where it is kept, from the snapshot's folder."""
        return f"{VIEWS}/{self.name}.parquet"

    @property
    def table(self) -> str | None:
        """The table that it shows as it is, if it does."""
        return self.name if f"read_parquet('{self.name}.parquet')" in self.definition else None


@cache
def all_views() -> tuple[View, ...]:
    """Every view, each after those that it reads."""
    text = files("warehouse.snapshots").joinpath("views.sql").read_text(encoding="utf-8")
    return tuple(_view(block) for block in text.strip().split("\n\n"))


def _view(block: str) -> View:
    lines = block.splitlines()
    about = [line for line in lines if line.startswith("--")]
    statement = "\n".join(lines[len(about) :])
    head = _NAME.match(statement)
    if not head:
        raise ValueError(f"no view: {block}")
    columns = {match[1]: match[2] for line in about if (match := _COLUMN.match(line))}
    question = " ".join(line[3:] for line in about if not line.startswith(("--   ", "-- kept")))
    return View(head[1], question, columns, "-- kept" in about, statement[head.end() :].rstrip(";"))


def views_sql() -> str:
    """The views as SQL for any DuckDB that runs in the snapshot's folder."""
    return _HEAD + "".join(f"\n{_shown(view)}\n" for view in all_views())


def _shown(view: View) -> str:
    definition = "\n".join(f"--   {line}" for line in view.definition.splitlines())
    made = f"-- Made when published, by:\n{definition}\n" if view.kept else ""
    source = f"SELECT * FROM read_parquet('{view.file}')" if view.kept else view.definition
    return f"{made}CREATE OR REPLACE VIEW {view.name} AS {source};\n" + "\n".join(
        comments(view.name, view.question, _meanings(view))
    )


def create_views(connection: duckdb.DuckDBPyConnection, folder: Path, source: Source = by_duckdb) -> None:
    """Create the views that a snapshot's folder has the tables for, in a session that runs anywhere."""
    for view in all_views():
        with suppress(duckdb.CatalogException, duckdb.BinderException, FileNotFoundError):
            connection.execute(f"CREATE VIEW {view.name} AS {_located(connection, view, folder, source)}")
            for comment in comments(view.name, view.question, _meanings(view)):
                connection.execute(comment)


def keep_views(connection: duckdb.DuckDBPyConnection, folder: Path) -> None:
    """Answer the kept views from the tables of a folder, and write the answers there."""
    create_views(connection, folder)
    for view in all_views():
        if view.kept:
            path = folder / view.file
            write_atomically(path, _writer(connection, view.name))
            connection.execute(f"CREATE OR REPLACE VIEW {view.name} AS FROM {by_duckdb([path])}")  # for those over it


def comments(view: str, question: str, columns: Mapping[str, str]) -> Iterator[str]:
    """Statements that tell a view's question and the meaning of its columns."""
    yield f"COMMENT ON VIEW {view} IS {quoted(question)};"
    for column, about in columns.items():
        yield f'COMMENT ON COLUMN {view}."{column}" IS {quoted(about)};'


def meanings(schema: pa.Schema) -> dict[str, str]:
    """What a schema says of its columns: their meaning, and the unit where there is one."""
    told = {field.name: {key.decode(): text.decode() for key, text in field.metadata.items()} for field in schema}
    return {name: notes["about"] + (f" [{notes['unit']}]" if "unit" in notes else "") for name, notes in told.items()}


def _meanings(view: View) -> dict[str, str]:
    return view.columns if view.table is None else meanings(_TABLES[view.table])


def _writer(connection: duckdb.DuckDBPyConnection, name: str) -> Callable[[Path], None]:
    def write(part: Path) -> None:
        connection.execute(f"COPY (FROM {name}) TO {quoted(str(part))} (FORMAT parquet, COMPRESSION zstd)")

    return write


def _located(connection: duckdb.DuckDBPyConnection, view: View, folder: Path, source: Source) -> str:
    """What a view reads, with whole file names."""
    if view.kept and (folder / view.file).is_file():
        return f"SELECT * FROM {source([folder / view.file], None)}"
    if view.table is None:
        return view.definition
    path = folder / f"{view.table}.parquet"
    if not path.is_file():
        raise FileNotFoundError(path)
    written = column_names(path)
    return f"SELECT *{lacking(connection, _TABLES[view.table], written)} FROM {source([path], None)}"


def lacking(connection: duckdb.DuckDBPyConnection, schema: pa.Schema, written: Collection[str]) -> str:
    """Columns of a schema that an older version did not write, as nulls, to follow the others of a SELECT."""
    types = zip(schema.names, connection.from_arrow(schema.empty_table()).types, strict=True)
    return "".join(f', CAST(NULL AS {kind}) AS "{name}"' for name, kind in types if name not in written)
