"""Partitions: a reader that asks for one base opens its files only, and the tools people use read the folders."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pyarrow.dataset as ds
import pytest

from warehouse.ledger.ledger import Ledger
from warehouse.ledger.partitions import partition_of, split
from warehouse.schemas.columns import table_of
from warehouse.schemas.ledger import LEDGER
from warehouse.sql.session import connect, run
from warehouse.storage.opening import open_storage

AT = datetime(2026, 11, 23, tzinfo=UTC)
BASES = ("org/one", "Org/ONE-F", "2026", "a b/ä%2F..")


def verdict(base: str, adapter: str) -> dict[str, Any]:
    return {"base": base, "base_sha": "b" * 40, "adapter": adapter, "admitted": True, "at": AT}


def verdicts(ledger: Ledger, within: str | None = None) -> list[tuple[str, str]]:
    return sorted((row["base"], row["adapter"]) for row in ledger.index("verdicts", within=within).rows())


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    """Two adapters for each base, by one append, in a folder that looks like a partition itself."""
    made = Ledger(tmp_path / "base=x")
    made.append("verdicts", [verdict(base, f"ann/{number}@1") for base in BASES for number in range(2)])
    return made


EVERY = sorted((base, f"ann/{number}@1") for base in BASES for number in range(2))


def test_rows_of_a_base_lie_in_its_folder_and_read_as_they_were(ledger: Ledger) -> None:
    folders = {path.parent.name for path in (ledger.root / "verdicts").rglob("*.parquet")}

    assert folders == {"base=org%2Fone", "base=%4Frg%2F%4F%4E%45-%46", "base=2026", "base=a%20b%2F%C3%A4%252%46.."}
    assert verdicts(ledger) == EVERY
    assert {row["at"] for row in ledger.read("verdicts").to_pylist()} == {AT}


def test_a_reader_of_one_base_opens_no_others_file(ledger: Ledger) -> None:
    for path in ledger.fragments("verdicts"):
        if partition_of(path) != ("base", "2026"):
            path.write_bytes(b"never opened")

    assert verdicts(ledger, within="2026") == [("2026", "ann/0@1"), ("2026", "ann/1@1")]
    asked = ledger.where("verdicts", {"base": "2026", "adapter": "ann/1@1"}, ["base", "adapter"])
    assert list(asked) == [{"base": "2026", "adapter": "ann/1@1"}]


def test_sql_reads_the_files_of_the_base_that_is_asked_for(ledger: Ledger) -> None:
    with connect(None, ledger) as connection:
        asked = "SELECT base, adapter FROM ledger_verdicts WHERE base = '2026' ORDER BY adapter"
        rows = run(connection, asked).fetchall()
        scanned = str(run(connection, f"EXPLAIN {asked}").fetchall()).upper().count("READ_PARQUET")

    assert rows == [("2026", "ann/0@1"), ("2026", "ann/1@1")]
    assert scanned == 1


def test_pandas_polars_and_arrow_read_the_folders_as_they_are(ledger: Ledger) -> None:
    folder = str(ledger.root / "verdicts")

    found = {
        "pandas": pd.read_parquet(folder)[["base", "adapter"]].astype(str).itertuples(index=False, name=None),
        "polars": pl.read_parquet(folder, hive_partitioning=True)
        .select(pl.col("base").cast(pl.String), "adapter")
        .iter_rows(),
        "arrow": [
            (row["base"], row["adapter"])
            for row in ds.dataset(folder, partitioning=ds.partitioning(flavor="hive")).to_table().to_pylist()
        ],
    }

    assert {name: sorted((str(base), key) for base, key in rows) for name, rows in found.items()} == dict.fromkeys(
        found, EVERY
    )


def test_a_retried_append_writes_the_same_files(ledger: Ledger) -> None:
    before = {path: path.stat().st_mtime_ns for path in ledger.paths("verdicts")}

    ledger.append("verdicts", [verdict(base, f"ann/{number}@1") for base in BASES for number in range(2)])

    assert {path: path.stat().st_mtime_ns for path in ledger.paths("verdicts")} == before


def test_a_value_that_makes_no_folders_name_stays_in_the_tables_own(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    target = f"tag:{'ä' * 190}"
    ledger.append("repos", [{"target": target, "repo": "ann/x", "at": AT}, {"target": "tag:b", "repo": "bob/y"}])

    assert [path.parent.name for path in ledger.fragments("repos")] == ["repos"]
    found = ledger.where("repos", {"target": [target, "tag:b"]}, ["repo"])
    assert [row["repo"] for row in found] == ["ann/x", "bob/y"]
    assert list(split("cards", table_of([], LEDGER["cards"]))) == ["cards"]


def test_partitions_on_s3_read_as_on_a_disk(s3_bucket: str, ledger: Ledger, tmp_path: Path) -> None:
    shared = Ledger(open_storage(f"{s3_bucket}/shared", tmp_path / "cache").sub("ledger"))
    shared.append("verdicts", ledger.read("verdicts").to_pylist(), name="mine")

    other = Ledger(open_storage(f"{s3_bucket}/shared", tmp_path / "elsewhere").sub("ledger"))

    assert (verdicts(other), other.has("verdicts", "mine")) == (EVERY, True)
    assert len(other.storage.folders("verdicts")) == len(BASES)
    assert verdicts(other, within="org/one") == [("org/one", "ann/0@1"), ("org/one", "ann/1@1")]
