"""The rows that a page shows: what the queries of sql/ say, by the queries' names.

Knows: SQL over a snapshot and the ledger. Does not know: what is done with the rows.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from warehouse.ledger.ledger import Ledger
from warehouse.schemas.ledger import LEDGER
from warehouse.snapshots.snapshot import Snapshot
from warehouse.sql.session import connect, run

Row = dict[str, Any]
Tables = Mapping[str, list[Row]]

_KNOWN = "SELECT view_name FROM duckdb_views() WHERE NOT internal"
_AGE = """
SELECT '{table}' AS "table", count(*) AS rows, min("at") AS oldest, max("at") AS newest FROM ledger_{table}
"""


def read_tables(snapshot: Snapshot, ledger: Path | Ledger) -> Tables:
    """Rows by table: one of every query, `ages` of the ledger's tables, and the snapshot's `changes` and `runs`."""
    with connect(snapshot, ledger) as connection:
        known = {name for (name,) in run(connection, _KNOWN).fetchall()}
        tables = {name: _rows(connection, query) for name, query in _queries().items() if _needs(query) <= known}
        dated = [name for name in LEDGER if "at" in LEDGER[name].names and f"ledger_{name}" in known]
        tables["ages"] = [row for name in dated for row in _rows(connection, _AGE.format(table=name))]
    aside = {name: snapshot.read(name) if snapshot.holds(name) else [] for name in ("changes", "runs")}
    return {name: tables.get(name, []) for name in (*_queries(), "ages")} | aside


def _rows(connection: Any, query: str) -> list[Row]:
    found = run(connection, query)
    names = [column[0] for column in found.description]
    return [dict(zip(names, values, strict=True)) for values in found.fetchall()]


def _queries() -> dict[str, str]:
    folder = files("flows.page").joinpath("sql")
    named = sorted((entry.name, entry.read_text(encoding="utf-8")) for entry in folder.iterdir())
    return {name.removesuffix(".sql"): text for name, text in named if name.endswith(".sql")}


def _needs(query: str) -> set[str]:
    """The ledger's views that a query reads: a young ledger has not all of them."""
    return set(re.findall(r"\bledger_\w+", query))
