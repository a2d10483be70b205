"""Compaction: whatever is appended, compacted and killed in whatever order, the ledger holds the same rows."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from catalog.errors import SettingError
from flows.cli.main import cli
from warehouse.ledger.compacted import is_compacted
from warehouse.ledger.compaction import GRACE, LEAST, compact
from warehouse.ledger.ledger import Ledger
from warehouse.storage.opening import open_storage
from warehouse.storage.storage import FolderStorage, Storage

DAY = 86_400.0
HOUR = 3_600.0
REPOS = "repos/target=base%3Aorg%2Fbase"


@pytest.fixture(params=["folder", "s3"])
def shared(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    """A storage whose files' times are told as each kind tells them: a folder's finely, S3's in whole seconds."""
    if request.param == "folder":
        return FolderStorage(tmp_path)
    return open_storage(f"{request.getfixturevalue('s3_bucket')}/shared", tmp_path / "cache")


def row(repo: int, likes: int) -> dict[str, Any]:
    return {"target": "base:org/base", "repo": f"ann/{repo}", "likes": likes}


def fill(ledger: Ledger, fragments: int, first: int = 0) -> list[dict[str, Any]]:
    """One fragment a row, each with a time of its own. Returns the rows as they are read."""
    for number in range(first, first + fragments):
        ledger.stamp("repos", [row(number % 5, number)])
    return rows(ledger)


def rows(ledger: Ledger) -> list[dict[str, Any]]:
    return sorted(ledger.read("repos").to_pylist(), key=lambda one: one["at"])


def after(seconds: float) -> Callable[[], float]:
    """A clock that is so far ahead."""
    return lambda: time.time() + seconds


def files(ledger: Ledger) -> list[str]:
    return sorted(path.stem for path in ledger.paths("repos"))


def test_many_fragments_become_one_and_every_row_is_still_there(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    before, names, current = fill(ledger, 20), ledger.names("repos"), ledger.current("repos")

    done = compact(ledger, "repos", clock=after(DAY))

    assert (done.joined, done.rows, done.removed) == (20, 20, 0)
    assert [is_compacted(path.stem) for path in ledger.fragments("repos")] == [True]
    assert (rows(ledger), ledger.names("repos"), ledger.current("repos")) == (before, names, current)
    assert list(ledger.where("repos", {"repo": "ann/3"}, ["likes"], prefix=min(names)[:6]))


def test_the_old_files_go_a_day_later(shared: Storage) -> None:
    ledger = Ledger(shared.sub("ledger"))
    before = fill(ledger, 20)
    compact(ledger, "repos", clock=after(DAY))

    early, late = compact(ledger, "repos", clock=after(GRACE / 2)), compact(ledger, "repos", clock=after(GRACE + 60))

    assert (early.removed, late.removed, early.joined, late.joined) == (0, 20, 0, 0)
    assert len(files(ledger)) == 1 and rows(ledger) == before


def test_what_is_young_or_little_is_left_alone(shared: Storage) -> None:
    ledger, few = Ledger(shared.sub("ledger")), Ledger(shared.sub("few"))
    fill(ledger, 20)
    fill(few, LEAST - 1)

    done = [compact(ledger, "repos", clock=after(hours * HOUR)).joined for hours in (0.0, 0.9, 1.1)]

    assert done == [0, 0, 20]
    assert compact(few, "repos", clock=after(DAY)).joined == 0
    assert compact(Ledger(shared.sub("none")), "repos").joined == 0


def test_where_a_storage_tells_no_times_nothing_is_old_enough(tmp_path: Path) -> None:
    ledger = Ledger(open_storage(f"memory://{tmp_path.name}", tmp_path))
    fill(ledger, 20)

    assert compact(ledger, "repos", clock=after(DAY)).joined == 0


def test_a_dry_run_tells_and_changes_nothing(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    fill(ledger, 20)
    before = files(ledger)

    assert compact(ledger, "repos", dry_run=True, clock=after(DAY)).joined == 20
    assert files(ledger) == before


def test_two_compactors_at_once_lose_and_double_nothing(tmp_path: Path) -> None:
    one, both = Ledger(tmp_path / "one"), Ledger(tmp_path / "both")
    fill(both, 12)
    for path in both.paths("repos")[:9]:
        (tmp_path / "one" / REPOS).mkdir(parents=True, exist_ok=True)
        (tmp_path / "one" / REPOS / path.name).write_bytes(path.read_bytes())
    compact(one, "repos", clock=after(DAY))  # it saw nine of twelve
    compact(both, "repos", clock=after(DAY))
    before = rows(both)
    made = next(path for path in one.paths("repos") if is_compacted(path.stem))
    (tmp_path / "both" / REPOS / made.name).write_bytes(made.read_bytes())

    assert rows(both) == before
    done = compact(both, "repos", clock=after(2 * DAY))
    assert (done.removed, len(files(both)), rows(both)) == (13, 1, before)


def test_partly_overlapping_ones_are_read_once_and_joined_later(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger")
    before = fill(ledger, 20)
    kept = {path.name: path.read_bytes() for path in ledger.paths("repos")}
    names = sorted(kept)
    for part in (names[:12], names[8:]):
        own = tmp_path / f"part-{part[0]}" / REPOS
        own.mkdir(parents=True)
        for name in part:
            (own / name).write_bytes(kept[name])
        compact(Ledger(own.parents[1]), "repos", clock=after(DAY))
        made = next(path for path in own.iterdir() if is_compacted(path.stem))
        (tmp_path / "ledger" / REPOS / made.name).write_bytes(made.read_bytes())

    assert rows(ledger) == before
    compact(ledger, "repos", clock=after(2 * DAY))
    assert rows(ledger) == before
    compact(ledger, "repos", clock=after(4 * DAY))
    assert (len(files(ledger)), rows(ledger)) == (1, before)


def test_a_writer_that_retries_what_was_compacted_adds_no_row(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.append("cards", [{"adapter": "ann/x@1", "text": "words"}], name="retried")
    for number in range(10):
        ledger.append("cards", [{"adapter": f"ann/{number}@1", "text": "words"}])
    compact(ledger, "cards", clock=after(DAY))
    compact(ledger, "cards", clock=after(3 * DAY))

    ledger.append("cards", [{"adapter": "ann/x@1", "text": "words"}], name="retried")

    assert ledger.read("cards").num_rows == 11


Step = tuple[str, int]
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.integers(1, 12)),
        st.tuples(st.just("compact"), st.integers(1, 5)),
        st.tuples(st.just("killed"), st.integers(0, 12)),
    ),
    max_size=8,
)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_whatever_happens_in_whatever_order_the_rows_are_the_same(
    steps: list[Step], mortal: Any, tmp_path_factory: pytest.TempPathFactory
) -> None:
    ledger = Ledger(tmp_path_factory.mktemp("ledger"))
    written, days = 0, 1.0
    for kind, count in steps:
        if kind == "append":
            fill(ledger, count, first=written)
            written += count
            continue
        days += count
        storage = mortal(ledger.root, [count]) if kind == "killed" else FolderStorage(ledger.root)
        with suppress(mortal.Killed):
            compact(Ledger(storage), "repos", clock=after(days * DAY))
        found = rows(ledger)
        assert [one["likes"] for one in found] == list(range(written))
        newest = {one["repo"]: one["likes"] for one in found}
        assert {one["repo"]: one["likes"] for one in ledger.current("repos")} == newest
        assert len(ledger.names("repos")) == written


def test_a_ledger_on_s3_is_compacted_too(s3_bucket: str, tmp_path: Path) -> None:
    ledger = Ledger(open_storage(f"{s3_bucket}/shared", tmp_path / "cache").sub("ledger"))
    before = fill(ledger, 10)

    compact(ledger, "repos", clock=after(DAY))
    again = compact(ledger, "repos", clock=after(3 * DAY))

    other = Ledger(open_storage(f"{s3_bucket}/shared", tmp_path / "elsewhere").sub("ledger"))
    assert (again.removed, rows(other), len(other.paths("repos"))) == (10, before, 1)


def test_the_command_tells_what_it_did(tmp_path: Path) -> None:
    fill(Ledger(tmp_path / "ledger"), 3)

    done = CliRunner().invoke(cli, ["--home", str(tmp_path), "compact", "repos", "--dry-run"])
    wrong = CliRunner().invoke(cli, ["--home", str(tmp_path), "compact", "nothing"])

    assert done.stdout == "repos\t0 files into 0\t0 rows\t0 old files removed\n"
    assert isinstance(wrong.exception, SettingError) and "There is no table nothing." in str(wrong.exception)
