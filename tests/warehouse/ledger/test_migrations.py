"""Migrations: an old ledger holds the same rows before, during and after, and says that it went through them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from catalog.errors import SnapshotError
from flows.cli.main import cli
from flows.home.home import open_home
from flows.home.parts import ledger_of, storage_of
from warehouse.ledger.compaction import compact
from warehouse.ledger.ledger import Ledger
from warehouse.ledger.migrations import MIGRATIONS, begin, check_format, migrate, pending, read_format
from warehouse.ledger.partitions import PARTITIONED
from warehouse.schemas.columns import table_of
from warehouse.schemas.ledger import LEDGER
from warehouse.sql.session import connect, run
from warehouse.storage.files import write_table
from warehouse.storage.storage import FolderStorage

OLD = Path(__file__).parents[2] / "flows" / "old_home"
DAY = 86_400.0
NEWEST = len(MIGRATIONS)


def contents(ledger: Ledger) -> dict[str, list[str]]:
    """Every row of every table, as it reads."""
    return {table: sorted(map(str, ledger.read(table).to_pylist())) for table in LEDGER}


def flat(root: Path) -> list[str]:
    """Tables whose fragments lie in the table's own folder."""
    return [table for table in PARTITIONED if any((root / "ledger" / table).glob("*.parquet"))]


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A home of schema 2, with verdicts of a second base in the same fragment, some fragments compacted."""
    home = shutil.copytree(OLD, tmp_path / "home")
    ledger = Ledger(home / "ledger")
    verdict = ledger.read("verdicts").to_pylist()[0]
    for number in range(9):
        rows = [{**verdict, "base": base, "adapter": f"ann/{number}@1"} for base in ("tiny/llama", "tiny/other")]
        write_table(home / f"ledger/verdicts/fragment-{number}.parquet", table_of(rows, LEDGER["verdicts"]))
    compact(ledger, "verdicts", clock=lambda: verdict["at"].timestamp() + 10_000 * DAY)
    return home


def test_an_old_ledger_reads_the_same_before_and_after(old: Path) -> None:
    storage = FolderStorage(old)
    ledger = Ledger(storage.sub("ledger"))
    before, names = contents(ledger), {table: ledger.names(table) for table in LEDGER}
    assert flat(old) == list(PARTITIONED)

    for migration in pending(storage):
        migrate(storage, migration)

    assert (flat(old), read_format(storage), pending(storage)) == ([], NEWEST, [])
    assert contents(ledger) == before
    assert {table: ledger.names(table) for table in LEDGER} == names
    with connect(None, ledger) as connection:
        asked = "SELECT base, count(*) FROM ledger_verdicts GROUP BY ALL ORDER BY ALL"
        assert run(connection, asked).fetchall() == [("tiny/llama", 11), ("tiny/other", 9)]


def test_a_migration_killed_at_any_step_loses_and_doubles_nothing(old: Path, mortal: Callable[..., Any]) -> None:
    before = contents(Ledger(old / "ledger"))
    kills = 0
    for steps in range(100):
        storage = mortal(old, [steps])
        with suppress(mortal.Killed):  # type: ignore[attr-defined]
            migrate(storage, MIGRATIONS[0])
            break
        kills += 1
        assert contents(Ledger(old / "ledger")) == before

    assert kills > 5 and flat(old) == []
    assert contents(Ledger(old / "ledger")) == before


def test_the_command_tells_what_it_does_and_is_done_once(old: Path) -> None:
    def upgrade(*flags: str) -> str:
        result = CliRunner().invoke(cli, ["--home", str(old), "upgrade", *flags])
        assert result.exit_code == 0, result.exception
        return result.stdout

    about = f"1\t{MIGRATIONS[0].about}"
    assert upgrade("--dry-run") == f"{about}\n"
    assert flat(old) == list(PARTITIONED)
    assert upgrade() == f"{about}\t13 files moved\n"
    assert upgrade() == "Nothing to do: the home is of today's format.\n"
    record = json.loads((old / "format.json").read_text("utf-8"))
    assert [(one["number"], one["about"]) for one in record["migrated"]] == [(1, MIGRATIONS[0].about)]


def test_a_new_home_needs_no_upgrade(tmp_path: Path) -> None:
    home = open_home(home=tmp_path / "new")

    begin(storage_of(home))
    ledger_of(home).append("cards", [{"adapter": "ann/x@1"}])
    begin(storage_of(home))

    assert (read_format(storage_of(home)), pending(storage_of(home))) == (NEWEST, [])


@pytest.mark.parametrize(
    ("record", "told"),
    [
        ('{"format": 99, "migrated": []}', "is of format 99, and this version knows formats up to"),
        ('{"format": "?"}', "is damaged"),
        ("[]", "is damaged"),
    ],
)
def test_a_home_of_a_newer_version_is_refused_by_name(tmp_path: Path, record: str, told: str) -> None:
    (tmp_path / "format.json").write_text(record)

    with pytest.raises(SnapshotError, match=rf"format\.json {told}"):
        check_format(FolderStorage(tmp_path))


def test_the_numbers_are_in_order_and_each_says_what_it_does() -> None:
    assert [migration.number for migration in MIGRATIONS] == list(range(1, NEWEST + 1))
    assert all(migration.about for migration in MIGRATIONS)
