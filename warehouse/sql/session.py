"""SQL over a home: the views of the published snapshot and the ledger's tables, in one DuckDB.

Knows: which names exist and what they read, what a session may do. Does not know: how results are shown.

The database is in memory and holds only views over Parquet, so it is never stale, blocks nobody, and costs
milliseconds to open. A session reads, and external access is locked to the snapshot and the ledger; or it may write
into one folder, and reads snapshot and ledger through Arrow, so that it cannot write there. The configuration is
locked with it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from typing import IO

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from catalog.errors import SettingError, SnapshotError
from warehouse.ledger.ledger import Ledger
from warehouse.ledger.partitions import partition_of, stored_schema
from warehouse.schemas.ledger import KEYS, LEDGER
from warehouse.snapshots.snapshot import Snapshot
from warehouse.snapshots.views import comments, create_views, lacking, meanings
from warehouse.storage.parquet_sources import Source, by_arrow, by_duckdb, quoted

_ROWS = 32_768  # of a result in memory at a time
_QUESTIONS = {
    "bases": "Which modules does a base model have?",
    "repos": "What did the hub's listings say of a repo last?",
    "pages": "Which pages of listings were read, in which pass?",
    "raw": "What do an adapter's config and header say, as they stand?",
    "cards": "What does an adapter's card say?",
    "prompt_files": "What do an adapter's card and tokenizer files say that may tell its prompt format?",
    "formats": "Which prompt format was an adapter trained for, and how is that known?",
    "weights": "What did the checks of an adapter's weights find?",
    "verdicts": "Was an adapter admitted, and which rules failed?",
    "rungs": "Who met how many examples in a race, and who went on?",
    "outputs": "What did an adapter, or the base, answer to an example?",
    "curation": "What did people pin, ban and note, and what lifted it?",
    "runs": "What did each run take?",
    "feedback": "What did people think of which answer, and how came its adapter to be chosen?",
}


def connect(snapshot: Snapshot | None, ledger: Path | Ledger, extra: Path | None = None) -> duckdb.DuckDBPyConnection:
    """An in-memory DuckDB with the snapshot's views and `ledger_<table>` views; `extra`: one more readable folder.

    For `run`, which lets it read only.
    """
    opened = Ledger(ledger) if isinstance(ledger, Path) else ledger
    connection = duckdb.connect()
    _add_views(connection, snapshot, opened, by_duckdb)
    _lock(connection, [opened.root, *([extra] if extra else []), *([snapshot.folder] if snapshot else [])])
    return connection


def connect_to_write(snapshot: Snapshot | None, ledger: Ledger, folder: Path) -> duckdb.DuckDBPyConnection:
    """The same names, in a session that may also create tables in memory, and read and write files in a folder.

    Raises SettingError where snapshot or ledger lie in that folder, or it in them.
    """
    here = folder.resolve()
    for kept in (ledger.root.resolve(), *([snapshot.folder.parent.resolve()] if snapshot else [])):
        if kept.is_relative_to(here) or here.is_relative_to(kept):
            raise SettingError(f"{here} holds {kept}, which stays as it is.", "Run it in a folder beside the home.")
    connection = duckdb.connect()
    _add_views(connection, snapshot, ledger, by_arrow(connection))
    _lock(connection, [here])
    return connection


def run(connection: duckdb.DuckDBPyConnection, query: str, writing: bool = False) -> duckdb.DuckDBPyConnection:
    """Run a query, which may only read unless `writing`.

    Raises SettingError with DuckDB's own message and the names that exist.
    """
    with telling_names(connection):
        _check(connection, query, writing)
        return connection.execute(query)


def write_parquet(connection: duckdb.DuckDBPyConnection, query: str, sink: IO[bytes], writing: bool = False) -> None:
    """Run a query as `run` does, and write its rows to one Parquet file; a part of them is in memory.

    Raises SettingError as `run`, and where the query gives no rows.
    """
    with telling_names(connection):
        _check(connection, query, writing)
        relation = connection.sql(query)
        if relation is None:
            raise SettingError("That gives no rows to write.", "Leave out --format parquet.")
        reader = relation.to_arrow_reader(_ROWS)
        with pq.ParquetWriter(sink, reader.schema, compression="zstd") as writer:
            for batch in reader:
                writer.write_table(pa.Table.from_batches([batch]))


@contextmanager
def telling_names(connection: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """DuckDB's errors become SettingErrors that list the names that exist. Fetch rows within it too."""
    try:
        yield
    except (duckdb.Error, pa.ArrowException, OSError) as error:
        if isinstance(error, OSError) and error.errno:
            raise  # the disk's or the pipe's; DuckDB's come through Arrow without a number
        listed = [name for name, _ in names(connection)]
        existing = f"The names that exist: {', '.join(listed) or 'none yet; run lorauter refresh'}."
        if listed and "catalog" not in listed:
            existing += " Nothing is published yet: run lorauter refresh or lorauter publish."
        raise SettingError(f"{error}\n", existing) from error


def names(connection: duckdb.DuckDBPyConnection) -> list[tuple[str, str | None]]:
    """The names that exist, each with the question that it answers."""
    listed: list[tuple[str, str | None]] = connection.execute(
        "SELECT view_name, comment FROM duckdb_views() WHERE NOT internal AND NOT temporary"
        " UNION ALL SELECT table_name, comment FROM duckdb_tables() WHERE NOT internal ORDER BY 1"
    ).fetchall()
    return listed


def _check(connection: duckdb.DuckDBPyConnection, query: str, writing: bool) -> None:
    """Raise SettingError for what is no query, or does more than read where only reading is allowed."""
    statements = connection.extract_statements(query)
    if not statements:
        raise SettingError("That is no query.", "Try `lorauter sql --list`.")
    if not writing and not all(_reads(statement) for statement in statements):
        raise SettingError("Only queries are run here.", "Ask with SELECT, FROM, DESCRIBE or SHOW TABLES, or --write.")


def _reads(statement: duckdb.Statement) -> bool:
    """Whether a statement only reads: the allowed folders would be open to COPY ... TO as well."""
    kind = statement.type.name
    runs = kind == "EXPLAIN" and "analyze" in statement.query.lower()
    return kind in ("SELECT", "EXPLAIN", "PRAGMA") and not runs


def _lock(connection: duckdb.DuckDBPyConnection, folders: Sequence[Path]) -> None:
    listed = ", ".join(quoted(str(folder) + os.sep) for folder in folders)
    connection.execute(f"SET allowed_directories = [{listed}]")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")


def _add_views(
    connection: duckdb.DuckDBPyConnection, snapshot: Snapshot | None, ledger: Ledger, source: Source
) -> None:
    if snapshot is not None:
        create_views(connection, snapshot.folder, source)
    for table in LEDGER:
        if fragments := ledger.fragments(table):
            _add_ledger_view(connection, table, fragments, source)


def _add_ledger_view(
    connection: duckdb.DuckDBPyConnection, table: str, fragments: Sequence[Path], source: Source
) -> None:
    try:
        rows = _whole(connection, LEDGER[table], fragments, source)
        connection.execute(f"CREATE VIEW ledger_{table} AS {_latest(table, rows)}")
        shown = {name for (name, *_) in connection.execute(f"DESCRIBE ledger_{table}").fetchall()}
        told = {name: about for name, about in meanings(LEDGER[table]).items() if name in shown}
        for comment in comments(f"ledger_{table}", _QUESTIONS.get(table, ""), told):
            connection.execute(comment)
    except duckdb.Error as error:
        raise SnapshotError(
            f"The ledger's table {table} is damaged: {str(error).partition(chr(10))[0][:300]}.",
            "Delete the file it names; the next refresh makes its rows anew.",
        ) from error


def _whole(connection: duckdb.DuckDBPyConnection, schema: pa.Schema, fragments: Sequence[Path], source: Source) -> str:
    """All fragments with all columns: a partition's column is its folder's, what older versions lack is null.

    A partition whose value is not asked for is not read: it is a constant that the query's filter refutes.
    """
    selects = []
    for told, paths in groupby(fragments, partition_of):
        files = list(paths)
        held = stored_schema(schema, files[0])
        given = f', {quoted(told[1])} AS "{told[0]}"' if told else ""
        rows = source(files, held)
        written = {name for (name, *_) in connection.execute(f"DESCRIBE SELECT * FROM {rows}").fetchall()}
        missing = lacking(connection, held, written)
        selects.append(f"SELECT *{missing}{given} FROM {rows}")
    columns = ", ".join(f'"{name}"' for name in schema.names)
    return f"(SELECT {columns} FROM ({' UNION ALL BY NAME '.join(selects)}))"


def _latest(table: str, source: str) -> str:
    """Of rows with a time the last of each key."""
    if "at" not in LEDGER[table].names:
        return f"SELECT * FROM {source}"
    keys = ", ".join(KEYS[table])
    return f'SELECT * FROM {source} QUALIFY row_number() OVER (PARTITION BY {keys} ORDER BY "at" DESC) = 1'
