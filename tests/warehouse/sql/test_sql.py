"""SQL over a home: it reads what is there and nothing else."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from catalog.errors import SettingError, SnapshotError
from warehouse.ledger.ledger import Ledger
from warehouse.schemas.ledger import LEDGER
from warehouse.snapshots.snapshot import publish
from warehouse.snapshots.views import all_views
from warehouse.sql.session import connect, run

T1, T2 = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC)


def listing(repo: str, downloads: int, at: datetime) -> dict[str, Any]:
    return {"target": "base:tiny/llama", "repo": repo, "downloads": downloads, "at": at}


def make_home(root: Path) -> duckdb.DuckDBPyConnection:
    """A ledger with one listing seen twice, and a snapshot with one rejected adapter."""
    ledger = Ledger(root / "ledger")
    ledger.append("repos", [listing("ann/x", 2, T2)], "1")
    ledger.append("repos", [listing("ann/x", 1, T1), listing("bob/y", 3, T1)], "2")
    adapters = [{"base": "tiny/llama", "base_sha": "a", "adapter": "x", "admitted": False, "reason": "gated"}]
    tables = {"tasks": [], "best": [], "scores": [], "rungs": [], "adapters": adapters}
    return connect(publish(root / "snapshots", tables, {}), ledger.root)


@pytest.fixture
def connection(tmp_path: Path) -> duckdb.DuckDBPyConnection:
    return make_home(tmp_path)


def fingerprint(root: Path) -> dict[str, str]:
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


LATEST = "SELECT repo, downloads FROM ledger_repos ORDER BY repo"


def test_the_ledgers_views_show_the_latest_rows(connection: duckdb.DuckDBPyConnection) -> None:
    assert run(connection, LATEST).fetchall() == [("ann/x", 2), ("bob/y", 3)]


def test_the_snapshots_views_can_be_asked(connection: duckdb.DuckDBPyConnection) -> None:
    assert run(connection, "SELECT reason, adapters FROM rejections").fetchall() == [("gated", 1)]


@pytest.mark.parametrize("name", ["it's", "a[1]", "b*c?", "base=other", "x {y} %"])
def test_a_home_may_be_called_anything(tmp_path: Path, name: str) -> None:
    """Quotes, patterns and folders that look like partitions of a column `base`."""
    connection = make_home(tmp_path / name)
    assert run(connection, LATEST).fetchall() == [("ann/x", 2), ("bob/y", 3)]
    assert run(connection, "SELECT base FROM adapters UNION ALL SELECT target FROM ledger_repos").fetchall() == [
        ("tiny/llama",),
        ("base:tiny/llama",),
        ("base:tiny/llama",),
    ]


def test_an_unknown_name_lists_the_known_ones(connection: duckdb.DuckDBPyConnection) -> None:
    with pytest.raises(SettingError, match="advters") as caught:
        run(connection, "SELECT * FROM advters")
    names = (*(view.name for view in all_views()), "ledger_repos")
    assert caught.value.next_step == f"The names that exist: {', '.join(sorted(names))}."


def test_before_the_first_publish_an_unknown_name_says_that_nothing_is_published(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger")
    ledger.append("repos", [listing("ann/x", 2, T2)], "1")

    with pytest.raises(SettingError) as caught:
        run(connect(None, ledger.root), "FROM catalog")

    told = "The names that exist: ledger_repos. Nothing is published yet: run lorauter refresh or lorauter publish."
    assert caught.value.next_step == told


def test_before_the_first_refresh_there_are_no_names(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="none yet; run lorauter refresh"):
        run(connect(None, tmp_path / "ledger"), "SELECT * FROM best")


@pytest.mark.parametrize("query", ["SELEC 1", "SELECT 1; SELEC 2", "\0"])
def test_bad_sql_is_an_error_for_people(connection: duckdb.DuckDBPyConnection, query: str) -> None:
    with pytest.raises(SettingError):
        run(connection, query)


@pytest.mark.parametrize(
    "query", ["FROM funnel", "DESCRIBE best", "SHOW TABLES", "SUMMARIZE adapters", "EXPLAIN FROM best"]
)
def test_every_form_of_asking_is_allowed(connection: duckdb.DuckDBPyConnection, query: str) -> None:
    assert run(connection, query).fetchall()


@pytest.mark.parametrize(
    "query",
    [
        "SELECT * FROM read_csv('/etc/passwd')",
        "SELECT * FROM read_text('{root}/secret')",
        "SELECT * FROM read_text('{root}/ledger/../secret')",
        "SELECT * FROM glob('/etc/*')",
        "SELECT * FROM '/etc/passwd'",
    ],
)
def test_nothing_outside_is_read(connection: duckdb.DuckDBPyConnection, tmp_path: Path, query: str) -> None:
    (tmp_path / "secret").write_text("secret")
    with pytest.raises(SettingError):
        run(connection, query.format(root=tmp_path))


@pytest.mark.parametrize(
    "query",
    [
        "COPY (SELECT 1) TO '{root}/evil.csv'",
        "COPY (SELECT 1) TO '{root}/ledger/repos/evil.parquet'",
        "SELECT 1; COPY (SELECT 1) TO '{root}/ledger/repos/evil.parquet'",
        "EXPLAIN ANALYZE COPY (SELECT 1) TO '{root}/ledger/repos/evil.parquet'",
        "EXPLAIN (ANALYZE) COPY (SELECT 1) TO '{root}/ledger/repos/evil.parquet'",
        "EXPORT DATABASE '{root}/ledger/export'",
        "ATTACH '{root}/ledger/evil.db' AS evil",
        "SET threads = 1",
        "SET enable_external_access = true",
        "RESET lock_configuration",
        "CREATE TABLE evil AS SELECT 1",
        "DROP VIEW best",
        "INSTALL httpfs",
        "LOAD httpfs",
    ],
)
def test_nothing_is_written_or_set(connection: duckdb.DuckDBPyConnection, tmp_path: Path, query: str) -> None:
    before = fingerprint(tmp_path)
    with pytest.raises(SettingError):
        run(connection, query.format(root=tmp_path))
    assert fingerprint(tmp_path) == before


def test_one_more_folder_can_be_opened_to_reading(tmp_path: Path) -> None:
    extra = tmp_path / "answers"
    extra.mkdir()
    (extra / "a.csv").write_text("n\n7\n")
    connection = connect(None, tmp_path / "ledger", extra)
    assert run(connection, f"SELECT n FROM read_csv('{extra}/a.csv')").fetchall() == [(7,)]


def test_a_damaged_fragment_is_named(tmp_path: Path) -> None:
    path = tmp_path / "repos/bad.parquet"
    path.parent.mkdir()
    path.write_bytes(b"not parquet at all")
    with pytest.raises(SnapshotError, match=r"bad.parquet.* Delete the file"):
        connect(None, tmp_path)


def test_a_key_that_no_fragment_of_an_older_version_has_is_null(tmp_path: Path) -> None:
    folder = tmp_path / "ledger/rungs"
    folder.mkdir(parents=True)
    old = pa.schema([field for field in LEDGER["rungs"] if field.name not in ("race", "standard_error")])
    told = {"base": "org/base", "task": "colours", "rung": 1, "adapter": "ann/x@1", "at": T1}
    pq.write_table(pa.Table.from_pylist([told], schema=old), folder / "old.parquet")

    with connect(None, tmp_path / "ledger") as connection:
        asked = "SELECT base, task, race, standard_error, adapter FROM ledger_rungs"
        assert run(connection, asked).fetchall() == [("org/base", "colours", None, None, "ann/x@1")]
