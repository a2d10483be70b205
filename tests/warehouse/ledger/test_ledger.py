"""The ledger: fragments are whole, stay, and are read together."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from catalog.errors import SnapshotError
from warehouse.ledger.ledger import Ledger
from warehouse.schemas.answers import ANSWERS, EVALUATION_ITEMS
from warehouse.schemas.ledger import KEYS, LEDGER, MADE, PLAN, VERDICTS
from warehouse.schemas.snapshot import ASIDE, BEST, SNAPSHOT

T1, T2 = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC)


def weights(adapter: str, size: int = 1, norm: float = 0.5, **more: object) -> dict[str, Any]:
    row = {"adapter": adapter, "size": size, "sha256": "f", "non_finite": [], "zero_b": False}
    return {**row, "unsupported": None, "mean_norm": norm, "norms": None, **more}


def test_rows_come_back_as_they_were(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.append("weights", [weights("a", at=T1)])
    ledger.append("weights", [weights("b", at=T1)])
    rows = sorted(ledger.read("weights").to_pylist(), key=lambda row: row["adapter"])
    assert rows == [weights("a", at=T1), weights("b", at=T1)]


def test_the_same_rows_are_one_fragment(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    for _ in range(2):
        ledger.append("weights", [weights("a", at=T1)])
    assert ledger.read("weights").num_rows == 1
    assert len(ledger.fragments("weights")) == 1


def test_a_named_fragment_is_never_replaced(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.append("weights", [weights("a", size=1)], "one")
    ledger.append("weights", [weights("a", size=2)], "one")
    assert ledger.read("weights", ["size"]).to_pylist() == [{"size": 1}]
    assert (ledger.has("weights", "one"), ledger.has("weights", "two")) == (True, False)
    assert (ledger.has_any("weights", "on"), ledger.has_any("weights", "two")) == (True, False)


def test_no_rows_write_nothing(tmp_path: Path) -> None:
    Ledger(tmp_path).append("weights", [])
    assert list(tmp_path.iterdir()) == []


def test_an_empty_ledger_has_the_columns_of_its_schema(tmp_path: Path) -> None:
    assert Ledger(tmp_path).read("weights").schema.names == LEDGER["weights"].names


def test_the_latest_row_of_a_key_is_current_whatever_its_fragment_is_called(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.append("weights", [weights("a", size=2, at=T2)], "1")
    ledger.append("weights", [weights("a", size=1, at=T1), weights("b", at=T1)], "2")
    current = {row["adapter"]: row["size"] for row in ledger.current("weights")}
    assert current == {"a": 2, "b": 1}


def test_changes_write_only_what_differs_and_stamp_it(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    assert ledger.changes("weights").append([weights("a"), weights("b")]) == 2
    assert ledger.changes("weights").append([weights("a"), weights("b", size=2), weights("c")]) == 2
    assert sorted(row["adapter"] for row in ledger.read("weights").to_pylist()) == ["a", "b", "b", "c"]
    assert all(row["at"].tzinfo for row in ledger.read("weights").to_pylist())


def test_a_row_with_nan_is_written_once(tmp_path: Path) -> None:
    for _ in range(2):
        Ledger(tmp_path).changes("weights").append([weights("a", norm=math.nan)])
    assert Ledger(tmp_path).read("weights").num_rows == 1


def test_changes_of_changes_are_seen_by_one_writer(tmp_path: Path) -> None:
    changes = Ledger(tmp_path).changes("weights")
    written = [changes.append([weights("a", size=size)]) for size in (1, 1, 2, 1)]
    assert written == [1, 0, 1, 1]
    assert [row["size"] for row in Ledger(tmp_path).current("weights")] == [1]


@pytest.mark.parametrize("damage", [b"", b"PAR1", b"x" * 300])
def test_a_damaged_fragment_is_named_with_the_next_step(tmp_path: Path, damage: bytes) -> None:
    ledger = Ledger(tmp_path)
    ledger.append("weights", [weights("a")], "bad")
    path = tmp_path / "weights/bad.parquet"
    path.write_bytes(damage)
    with pytest.raises(SnapshotError) as caught:
        ledger.read("weights")
    assert str(path) in caught.value.cause
    assert caught.value.next_step == "Delete that file; the next refresh makes its rows anew."


def test_a_fragment_of_another_table_is_damage(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.append("weights", [weights("a")], "x")
    (tmp_path / "bases").mkdir()
    (tmp_path / "weights/x.parquet").rename(tmp_path / "bases/x.parquet")
    with pytest.raises(SnapshotError):
        ledger.read("bases")


def test_every_table_has_its_key_among_its_columns() -> None:
    assert set(KEYS) == set(LEDGER)
    assert all(set(KEYS[name]) <= set(schema.names) for name, schema in LEDGER.items())
    assert all(set(keys) <= set(schema.names) for schema, keys in SNAPSHOT.values())
    assert not any("at" in schema.names for schema, _ in SNAPSHOT.values())


def test_every_column_says_what_it_means() -> None:
    tables = [*LEDGER.values(), *(schema for schema, _ in {**SNAPSHOT, **ASIDE}.values()), ANSWERS, EVALUATION_ITEMS]
    silent = {field.name for schema in tables for field in schema if not field.metadata.get(b"about")}
    assert silent == set()
    assert BEST.field("lift").metadata[b"unit"] == b"points of the metric, -1 to 1"
    assert VERDICTS.field("licence").metadata[b"source"] == b"model card"
    sources = {table: LEDGER[table].field("text").metadata[b"source"] for table in ("cards", "outputs")}
    assert sources == {"cards": b"model card", "outputs": b"engine"}
    assert {*PLAN.names, *MADE} == {*LEDGER["outputs"].names, "shard"}
