"""SQL over a home: the views of the published snapshot and the ledger's tables, in one DuckDB.

Knows: which names exist and what they read. Does not know: how results are shown.

The database is in memory and holds only views over Parquet, so it is never stale, blocks nobody, and costs
milliseconds to open. External access is locked to the snapshot and the ledger, and the configuration with it.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import duckdb

from catalog.errors import SettingError, SnapshotError
from warehouse.ledger import Ledger
from warehouse.schemas import KEYS, LEDGER
from warehouse.snapshots import Snapshot
from warehouse.views import create_views, quoted


def connect(snapshot: Snapshot | None, ledger: Path | Ledger, extra: Path | None = None) -> duckdb.DuckDBPyConnection:
    """An in-memory DuckDB with the snapshot's views and `ledger_<table>` views; `extra`: one more readable folder."""
    connection = duckdb.connect()
    opened = Ledger(ledger) if isinstance(ledger, Path) else ledger
    folders = [str(opened.root), *([str(extra)] if extra else [])]
    if snapshot is not None:
        folders.append(str(snapshot.folder))
        create_views(connection, snapshot.folder)
    for table in LEDGER:
        if fragments := opened.fragments(table):
            _add_ledger_view(connection, table, fragments)
    connection.execute(f"SET allowed_directories = [{', '.join(quoted(f + os.sep) for f in folders)}]")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")
    return connection


def run(connection: duckdb.DuckDBPyConnection, query: str) -> duckdb.DuckDBPyConnection:
    """Run a query, which may only read. Raises SettingError with DuckDB's own message and the names that exist."""
    try:
        if not all(_reads(statement) for statement in connection.extract_statements(query)):
            raise SettingError("Only queries are run here.", "Ask with SELECT, FROM, DESCRIBE or SHOW TABLES.")
        return connection.execute(query)
    except duckdb.Error as error:
        names = connection.execute("SELECT view_name FROM duckdb_views() WHERE NOT internal ORDER BY 1").fetchall()
        known = ", ".join(name for (name,) in names)
        raise SettingError(f"{error}", f"The names that exist: {known or 'none yet; run lorauter refresh'}.") from error


def _reads(statement: duckdb.Statement) -> bool:
    """Whether a statement only reads: the allowed folders would be open to COPY ... TO as well."""
    kind = statement.type.name
    runs = kind == "EXPLAIN" and "analyze" in statement.query.lower()
    return kind in ("SELECT", "EXPLAIN", "PRAGMA") and not runs


def _add_ledger_view(connection: duckdb.DuckDBPyConnection, table: str, fragments: Sequence[Path]) -> None:
    try:
        connection.execute(_ledger_view(table, fragments))
    except duckdb.Error as error:
        raise SnapshotError(
            f"The ledger's table {table} is damaged: {str(error).partition(chr(10))[0][:300]}.",
            "Delete the file it names; the next refresh makes its rows anew.",
        ) from error


def _ledger_view(table: str, fragments: Sequence[Path]) -> str:
    """Files by name, not by pattern: a folder may be called `a[1]*`."""
    listed = ", ".join(quoted(str(path)) for path in fragments)
    source = f"read_parquet([{listed}], hive_partitioning = false, union_by_name = true)"
    if "at" not in LEDGER[table].names:
        return f"CREATE VIEW ledger_{table} AS SELECT * FROM {source}"
    keys = ", ".join(KEYS[table])
    latest = f'QUALIFY row_number() OVER (PARTITION BY {keys} ORDER BY "at" DESC) = 1'
    return f"CREATE VIEW ledger_{table} AS SELECT * FROM {source} {latest}"
