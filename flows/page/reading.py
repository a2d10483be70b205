"""The rows that a page shows: what the queries of sql/ say, by the queries' names.

Knows: SQL over a snapshot and the ledger. Does not know: what is done with the rows.
"""

from __future__ import annotations

import re
from dataclasses import fields
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeVar

from flows.page import rows
from flows.page.rows import Tables
from warehouse.ledger.ledger import Ledger
from warehouse.schemas.ledger import LEDGER
from warehouse.snapshots.snapshot import Snapshot
from warehouse.sql.session import connect, run

_Row = TypeVar("_Row")
_VIEWS = "SELECT view_name FROM duckdb_views() WHERE NOT internal"
_LATER = re.compile(r"\bledger_\w+|\badapter_formats\b")  # views that may not be there
_AGE = """
SELECT '{table}' AS "table", count(*) AS rows, min("at") AS oldest, max("at") AS newest FROM ledger_{table}
"""


def read_tables(snapshot: Snapshot, ledger: Path | Ledger) -> Tables:
    """The rows of every query, the age of the ledger's tables, and the snapshot's changes and runs."""
    with connect(snapshot, ledger) as connection:
        views = {name for (name,) in run(connection, _VIEWS).fetchall()}

        def of(query: str, kind: type[_Row]) -> list[_Row]:
            """The rows of a query; none where it reads a view that a young ledger, or an old snapshot, lacks."""
            text = files("flows.page").joinpath("sql", f"{query}.sql").read_text(encoding="utf-8")
            return _asked(connection, text, kind) if set(_LATER.findall(text)) <= views else []

        dated = [name for name in LEDGER if "at" in LEDGER[name].names and f"ledger_{name}" in views]
        return Tables(
            adapters=of("adapters", rows.AdapterRow),
            cards=of("cards", rows.CardRow),
            formats=of("formats", rows.FormatRow),
            funnel=of("funnel", rows.FunnelRow),
            licences=of("licences", rows.LicenceRow),
            paths=of("paths", rows.PathRow),
            quality=of("quality", rows.QualityRow),
            reasons=of("reasons", rows.ReasonRow),
            repos=of("repos", rows.RepoRow),
            rungs=of("rungs", rows.RungRow),
            scores=of("scores", rows.ScoreRow),
            tasks=of("tasks", rows.TaskRow),
            whys=of("whys", rows.WhyRow),
            ages=[row for name in dated for row in _asked(connection, _AGE.format(table=name), rows.AgeRow)],
            changes=_kept(snapshot, "changes", rows.ChangeRow),
            runs=_kept(snapshot, "runs", rows.RunRow),
        )


def _asked(connection: Any, query: str, kind: type[_Row]) -> list[_Row]:
    """The rows of a query, whose columns are the fields of `kind`."""
    result = run(connection, query)
    names = [column[0] for column in result.description]
    return [kind(**dict(zip(names, values, strict=True))) for values in result.fetchall()]


def _kept(snapshot: Snapshot, table: str, kind: Any) -> list[Any]:
    """The rows of a table that stands beside the snapshot's own; an older snapshot has none, or columns fewer."""
    names = [field.name for field in fields(kind)]
    kept = snapshot.read(table) if snapshot.holds(table) else []
    return [kind(**{name: row.get(name) for name in names}) for row in kept]
