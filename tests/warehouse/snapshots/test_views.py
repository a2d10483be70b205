"""The named views: each answers its question, ships as Parquet, and says what its columns mean."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import polars as pl
import pytest

from warehouse.schemas.snapshot import ASIDE, SNAPSHOT
from warehouse.snapshots.snapshot import Snapshot, publish
from warehouse.snapshots.views import all_views
from warehouse.sql.session import connect, run

BASE = {"base": "tiny/llama", "base_sha": "a" * 40}
HOSTILE = "eve/'; DROP VIEW best; --\n\0\x1b[2J@1"
WIDE, NARROW, WEAK = "ann/wide@1", "bob/narrow@1", "cy/weak@1"
TASKS = ("animals", "colours", "numbers")
STARTED = datetime(2026, 1, 1, tzinfo=UTC)


def score(task: str, adapter: str, lift: float, **more: Any) -> dict[str, Any]:
    """Twelve examples, base 0.25, a standard error of 0.125."""
    error = 0.125 if adapter else 0.0
    known = {"n": 12, "lift_n": 12, "rung": 2, "standard_error": 0.125, "lift_standard_error": error, "chosen": False}
    return {**BASE, "task": task, "adapter": adapter, "mean": 0.25 + lift, "lift": lift, **known, **more}


def best(task: str, adapter: str, lift: float) -> dict[str, Any]:
    known = {"base_score": 0.25, "lift_standard_error": 0.0625, "lift_over_majority": lift, "n": 40}
    return {**BASE, "task": task, "adapter": adapter, "score": 0.25 + lift, "lift": lift, **known}


def verdict(adapter: str, **more: Any) -> dict[str, Any]:
    return {**BASE, "adapter": adapter, "admitted": True, "downloaded": True, "size": 8, "downloads": 1, **more}


def tables() -> dict[str, list[dict[str, Any]]]:
    """Wide gains on two tasks, narrow on one of three, weak on none; a copy, a gated one and one of a hostile name."""
    return {
        "tasks": [{**BASE, "task": task} for task in (*TASKS, "untried")],
        "best": [best("animals", WIDE, 0.5), best("colours", NARROW, 0.125), best("numbers", "", 0.0)],
        "scores": [
            *(score(task, "", 0.0) for task in TASKS),
            *(score(task, WIDE, 0.5, chosen=task == "animals", format="alpaca") for task in ("animals", "colours")),
            *(score(t, NARROW, v, chosen=v > 0) for t, v in zip(TASKS, (0.0, 0.75, -0.25), strict=True)),
            score("animals", WEAK, 0.75, rung=1, n=3, lift_n=3, format="own 12345678"),
        ],
        "adapters": [
            verdict(WIDE, licence="mit", last_modified="2025-01-01T00:00:00.000Z"),
            verdict(NARROW, last_modified="soon"),
            verdict(WEAK, licence="mit"),
            verdict("dan/copy@1", admitted=False, downloaded=False, reason="duplicate", duplicate_of=WIDE),
            verdict(HOSTILE, admitted=False, downloaded=False, reason="gated", licence="'"),
        ],
        "formats": [
            {**BASE, "adapter": WIDE, "place": 2, "format": "own", "confidence": 0.45, "template": "Q: {input}\nA:"},
            {**BASE, "adapter": WIDE, "place": 1, "format": "alpaca", "confidence": 0.9, "source": "card code"},
            {**BASE, "adapter": WEAK, "place": 2, "format": "own", "confidence": 0.6, "template": "{input} =>"},
            {**BASE, "adapter": WEAK, "place": 1, "format": "own", "confidence": 0.8, "template": "{input}:"},
        ],
        "templates": [
            {**BASE, "format": "alpaca", "template": "### {input}", "stops": []},
            {**BASE, "format": "own 12345678", "template": "{input} =>", "stops": ["\n\n"]},
        ],
    }


def aside() -> dict[str, list[dict[str, Any]]]:
    change = {**BASE, "task": "colours", "mean": 0.75, "lift": 0.5, "since": "0" * 16}
    return {
        "changes": [
            {
                **change,
                "adapter": NARROW,
                "change": "rose",
                "lift_before": 0.25,
                "chosen_before": False,
                "chosen": True,
            },
            {**change, "adapter": WIDE, "change": "came"},
            {**change, "adapter": WEAK, "change": "fell", "lift_before": 1.0},
        ],
        "runs": [{**BASE, "run": "1", "command": "refresh", "started": STARTED, "spent": 25, "exhaustive": 100}],
    }


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    return publish(tmp_path_factory.mktemp("snapshots"), tables(), {}, aside())


@pytest.fixture
def connection(snapshot: Snapshot, tmp_path: Path) -> duckdb.DuckDBPyConnection:
    return connect(snapshot, tmp_path / "ledger")


ANSWERS = {
    "SELECT task, adapter, score, licence FROM catalog": [
        ("animals", WIDE, 0.75, "mit"),
        ("colours", NARROW, 0.375, None),
        ("numbers", "(base)", 0.25, None),
    ],
    "SELECT place, adapter, lift, clear, chosen FROM top_adapters WHERE task = 'animals'": [
        (1, WIDE, 0.5, True, True),
        (2, NARROW, 0.0, False, False),
        (3, WEAK, 0.75, False, False),
    ],
    f"SELECT task, lift, clear FROM adapter_tasks WHERE adapter = '{NARROW}' ORDER BY task": [
        ("animals", 0.0, False),
        ("colours", 0.75, True),
        ("numbers", -0.25, False),
    ],
    "SELECT task, adapter, lift, low, high, tried, better, worse, median_lift FROM lift": [
        ("animals", WIDE, 0.5, 0.3775, 0.6225, 3, 1, 0, 0.5),
        ("colours", NARROW, 0.125, 0.0025000000000000022, 0.2475, 2, 2, 0, 0.625),
        ("numbers", "", 0.0, -0.1225, 0.1225, 1, 0, 0, -0.25),
    ],
    "SELECT task, good, status, tried FROM coverage": [
        ("numbers", False, "base", 1),
        ("untried", False, "untried", 0),
        ("colours", True, "good", 2),
        ("animals", True, "good", 3),
    ],
    "SELECT adapter, tasks, better, worse, chosen, best_task, mean_lift FROM adapter_lift": [
        (WIDE, 2, 2, 0, 1, "animals", 0.5),
        (NARROW, 3, 1, 0, 1, "colours", 1 / 6),
        (WEAK, 1, 0, 0, 0, "animals", 0.75),
    ],
    "SELECT adapter, task, lift, other_lift, margin, tasks FROM specialists": [
        (NARROW, "colours", 0.75, -0.125, 0.875, 3)
    ],
    "SELECT adapter, tasks, better, share, lowest_lift FROM generalists": [(WIDE, 2, 2, 1.0, 0.5)],
    "FROM funnel": [(5, 2, 3, 3, 3)],
    "SELECT adapter, place, format, source, sure, template FROM adapter_formats": [
        (WIDE, 1, "alpaca", "card code", True, None),
        (WIDE, 2, "own", None, False, "Q: {input}\nA:"),
        (NARROW, None, None, None, False, None),
        (WEAK, 1, "own", None, True, "{input}:"),
        (WEAK, 2, "own", None, True, "{input} =>"),
    ],
    """SELECT adapter, format, source, confidence, tasks, better, chosen, mean_lift, template, stops
    FROM scored_formats""": [
        (WIDE, "alpaca", "card code", 0.9, 2, 2, 1, 0.5, "### {input}", []),
        (WEAK, "own 12345678", None, 0.6, 1, 0, 0, 0.75, "{input} =>", ["\n\n"]),
    ],
    "FROM rejections": [("duplicate", 1, "dan/copy@1", 0.5), ("gated", 1, HOSTILE, 0.5)],
    "SELECT licence, tasks, chosen, admitted, seen FROM licences": [
        ("mit", 1, 1, 2, 2),
        ("(none)", 1, 1, 1, 2),
        ("'", 0, 0, 0, 1),
    ],
    "SELECT task, last_modified, days = date_diff('day', DATE '2025-01-01', current_date) FROM freshness": [
        ("colours", None, None),
        ("animals", datetime(2025, 1, 1), True),
    ],
    "SELECT original, copies, bytes, adapters FROM duplicates": [(WIDE, 1, 8, ["dan/copy@1"])],
    "SELECT command, spent, share FROM cost": [("refresh", 25, 0.25)],
    "SELECT adapter, change, gained, took FROM rising": [(NARROW, "rose", 0.25, True), (WIDE, "came", None, False)],
    "SELECT question FROM views WHERE name = 'funnel'": [("From seen to admitted: how many adapters came how far?",)],
    """SELECT "column", type, about FROM columns WHERE "table" = 'specialists' LIMIT 3""": [
        ("base", "VARCHAR", "base model id"),
        ("adapter", "VARCHAR", 'its key, repo[:path]@sha, "" is the base alone'),
        ("task", "VARCHAR", "the one"),
    ],
    """SELECT about FROM columns WHERE "table" = 'best' AND "column" = 'lift'""": [
        ("score - base_score [points of the metric, -1 to 1]",)
    ],
}


@pytest.mark.parametrize("query", ANSWERS, ids=lambda query: query.partition("FROM ")[2].partition(" ")[0])
def test_a_view_answers_its_question(connection: duckdb.DuckDBPyConnection, query: str) -> None:
    assert run(connection, query).fetchall() == ANSWERS[query]


def test_every_view_has_an_answer_here() -> None:
    tables_shown = {*SNAPSHOT, *ASIDE}
    assert {view.name for view in all_views()} - tables_shown == {
        query.partition("FROM ")[2].partition(" ")[0] for query in ANSWERS
    }


def test_every_view_says_its_question_and_its_columns(connection: duckdb.DuckDBPyConnection) -> None:
    assert run(connection, "SELECT name FROM views WHERE coalesce(question, '') NOT LIKE '%?%'").fetchall() == []
    described = {(view.name, column) for view in all_views() for column in view.columns}
    shown = set(run(connection, """SELECT "table", "column" FROM columns""").fetchall())
    assert described - shown == set()


# As Parquet, and without our code


def test_pandas_and_polars_read_every_answer(
    snapshot: Snapshot, connection: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    files = {path.stem: path for path in (snapshot.folder / "views").glob("*.parquet")}
    assert set(files) == {view.name for view in all_views() if view.kept}

    for name, path in files.items():
        answer = run(connection, f"FROM {name}")
        columns, rows = [column[0] for column in answer.description or ()], answer.fetchall()
        assert pl.read_parquet(path).columns == list(pd.read_parquet(path).columns) == columns, name
        assert (pl.read_parquet(path).height, len(pd.read_parquet(path))) == (len(rows), len(rows)), name
    found = pl.read_parquet(files["specialists"])["adapter", "task", "margin"].rows()
    assert found == list(pd.read_parquet(files["specialists"])[["adapter", "task", "margin"]].itertuples(False, None))
    assert found == [(NARROW, "colours", 0.875)]


def test_the_answers_are_those_of_the_definitions(snapshot: Snapshot, tmp_path: Path) -> None:
    """What was kept when publishing is what a snapshot without the files answers."""
    bare = tmp_path / "bare"
    bare.mkdir()
    for table in {*SNAPSHOT, *ASIDE}:
        (bare / f"{table}.parquet").write_bytes((snapshot.folder / f"{table}.parquet").read_bytes())
    with (
        connect(snapshot, tmp_path / "ledger") as kept,
        connect(Snapshot("", bare, {}, ""), tmp_path / "ledger") as live,
    ):
        for view in all_views():
            assert run(live, f"FROM {view.name}").fetchall() == run(kept, f"FROM {view.name}").fetchall(), view.name


_PLAIN = """
import duckdb
connection = duckdb.connect()
connection.execute(open("views.sql").read())
print(connection.execute("SELECT adapter, margin FROM specialists").fetchall())
print(connection.execute("SELECT count(*) = count(question) FROM views").fetchall())
print(connection.execute("SELECT about FROM columns WHERE \\"table\\" = 'cost' AND \\"column\\" = 'share'").fetchall())
"""


def test_any_duckdb_has_the_views_with_questions_and_columns(snapshot: Snapshot) -> None:
    command = [sys.executable, "-c", _PLAIN]
    done = subprocess.run(command, cwd=snapshot.folder, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["[('bob/narrow@1', 0.875)]", "[(True,)]", "[('spent / exhaustive',)]"]


# Older snapshots


def test_a_snapshot_without_a_table_has_the_other_views(snapshot: Snapshot, tmp_path: Path) -> None:
    older = tmp_path / "older"
    older.mkdir()
    for table in ("tasks", "best", "scores", "rungs"):
        (older / f"{table}.parquet").write_bytes((snapshot.folder / f"{table}.parquet").read_bytes())
    without_last_modified = f"COPY (SELECT * EXCLUDE last_modified FROM '{snapshot.folder}/adapters.parquet')"
    duckdb.execute(f"{without_last_modified} TO '{older}/adapters.parquet'")
    with connect(Snapshot("", older, {}, ""), tmp_path / "ledger") as connection:
        lacking = {"changes", "runs", "sources", "inputs", "curation", "cost", "rising", "formats", "adapter_formats"}
        lacking |= {"templates", "scored_formats"}
        names = {name for (name,) in run(connection, "SELECT name FROM views").fetchall()}
        assert names == {view.name for view in all_views()} - lacking
        assert run(connection, "SELECT task, last_modified, days FROM freshness").fetchall() == [
            ("animals", None, None),
            ("colours", None, None),
        ]
