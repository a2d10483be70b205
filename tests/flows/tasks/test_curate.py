"""`lorauter curate` over a refreshed tiny home: the next publish honours what people decided; all real."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from catalog.adapters.adapter import AdapterId
from flows.cli.main import cli
from flows.home.home import Home, open_home
from flows.home.parts import ledger_of
from warehouse.snapshots.pointer import swaps
from warehouse.snapshots.snapshot import Snapshot, current_snapshot

BASE = "tiny/llama"
Run = Callable[..., Result]


@pytest.fixture
def home(tmp_path: Path, tiny_hub: str, refreshed: Path) -> Home:
    """A home after one refresh, to be curated."""
    root = shutil.copytree(refreshed, tmp_path / "home", symlinks=True)
    (root / "lorauter.toml").write_text(f'base = "{BASE}"\nendpoint = "{tiny_hub}"\nauthor = "ann"\n')
    return open_home(home=root)


@pytest.fixture
def run(home: Home) -> Run:
    """Runs a command over the home."""
    return lambda *words: CliRunner().invoke(cli, ["--home", str(home.root), *words])


def done(result: Result) -> Result:
    assert result.exception is None, result.exception
    return result


def chosen(snapshot: Snapshot) -> dict[str, str]:
    """Task → name of the published adapter."""
    return {row["task"]: row["adapter"].rpartition("@")[0] for row in snapshot.read("best")}


def row_of(snapshot: Snapshot, table: str, **fields: Any) -> dict[str, Any]:
    return next(row for row in snapshot.read(table) if all(row[name] == value for name, value in fields.items()))


def test_a_pin_is_published_with_its_own_score_until_it_is_lifted(home: Home, run: Run) -> None:
    before = current_snapshot(home.snapshots)
    done(run("curate", "pin", "bob/animals", "--task", "colours", "--reason", "we like it"))
    refused = run("publish")
    done(run("publish", "--force", "a trial"))
    pinned = current_snapshot(home.snapshots)
    done(run("curate", "unpin", "bob/animals", "--task", "colours", "--reason", "enough"))

    done(run("publish"))

    assert "mean lift falls" in str(refused.exception) and "--force" in str(refused.exception)
    assert chosen(pinned) == {**chosen(before), "colours": "bob/animals"}
    best = row_of(pinned, "best", task="colours")
    assert best["curation"].startswith("pinned by ann on ") and best["curation"].endswith(": we like it")
    assert best["score"] < row_of(before, "best", task="colours")["score"] == 1.0
    assert [(row["kind"], row["reason"]) for row in pinned.read("curation")] == [("pin", "we like it")]
    assert current_snapshot(home.snapshots).id == before.id
    assert {row["kind"] for row in ledger_of(home).read("curation").to_pylist()} == {"pin", "unpin", "force"}


def test_a_banned_adapter_is_published_for_no_task(home: Home, run: Run) -> None:
    done(run("curate", "ban", "ann/colours", "--reason", "stolen <weights>"))

    done(run("publish", "--force", "it is stolen"))

    snapshot = current_snapshot(home.snapshots)
    verdict = next(row for row in snapshot.read("adapters") if AdapterId.parse(row["adapter"]).repo == "ann/colours")
    assert chosen(snapshot)["colours"] != "ann/colours"
    assert (verdict["admitted"], verdict["reason"]) == (False, "banned")
    assert verdict["findings"][0]["evidence"].endswith(": stolen <weights>")
    assert "ann/colours" not in {AdapterId.parse(r["adapter"]).name for r in snapshot.read("scores") if r["adapter"]}


def test_a_ban_that_is_lifted_leaves_the_catalog_as_it_was(home: Home, run: Run) -> None:
    before = current_snapshot(home.snapshots)
    done(run("curate", "ban", "ann/colours", "--reason", "it looks stolen"))
    done(run("publish", "--force", "until we know"))
    banned = chosen(current_snapshot(home.snapshots))
    done(run("curate", "unban", "ann/colours", "--reason", "it is not"))

    done(run("publish"))

    assert banned["colours"] != chosen(before)["colours"] == "ann/colours"
    assert current_snapshot(home.snapshots).id == before.id
    assert [row["new"] for row in _runs(home)][-1] == 0


def test_a_winner_that_was_rejected_for_a_while_is_the_winner_again(home: Home, run: Run) -> None:
    before, settings = current_snapshot(home.snapshots), home.root / "lorauter.toml"
    text = settings.read_text()
    settings.write_text(text + '[policy]\nblocked = ["cleo"]\n')
    done(run("validate"))
    done(run("publish", "--force", "the policy says so"))
    rejected = chosen(current_snapshot(home.snapshots))
    settings.write_text(text)
    done(run("validate"))

    done(run("publish"))

    assert rejected["compass"] != chosen(before)["compass"] == "cleo/compass"
    assert current_snapshot(home.snapshots).id == before.id
    assert [row["new"] for row in _runs(home)][-1] == 0


def test_a_copy_takes_a_banned_originals_place_once_it_is_judged_anew(home: Home, run: Run) -> None:
    told = done(run("curate", "ban", "ann/colours", "--reason", "withdrawn")).stderr
    refused = run("curate", "pin", "wild/copycat", "--task", "colours", "--reason", "the same weights")
    done(run("validate"))

    done(run("curate", "pin", "wild/copycat", "--task", "colours", "--reason", "the same weights"))
    done(run("publish"))

    assert "The same weights lie under wild/copycat. `lorauter validate` judges those anew." in told
    assert "which is banned" in str(refused.exception) and "lorauter validate" in str(refused.exception)
    best = row_of(current_snapshot(home.snapshots), "best", task="colours")
    assert (AdapterId.parse(best["adapter"]).name, best["score"]) == ("wild/copycat", 1.0)


def test_why_says_first_where_it_is_published_and_who_decided_what(home: Home, run: Run) -> None:
    day = f"{datetime.now(UTC):%Y-%m-%d}"
    since = f"{swaps(home.snapshots)[0].at:%Y-%m-%d}"
    done(run("curate", "pin", "bob/animals", "--task", "colours", "--reason", "we like it"))
    done(run("publish", "--force", "a trial"))
    done(run("curate", "ban", "cleo/compass", "--reason", "withdrawn"))

    pinned, banned, dropped = (
        done(run("why", name)).stdout.splitlines() for name in ("bob/animals", "cleo/compass", "ann/colours")
    )

    scores = {row["task"]: row for row in current_snapshot(home.snapshots).read("best")}
    assert pinned[0].startswith("bob/animals@") and " for tiny/llama: admitted (rules " in pinned[3]
    assert [line.partition(" ")[2] for line in pinned[:2]] == [
        f"is published for animals: score 1.00, lift {scores['animals']['lift']:+.2f} over the base, since {since}",
        f"is published for colours: score {scores['colours']['score']:.2f}, "
        f"lift {scores['colours']['lift']:+.2f} over the base, since {day}",
    ]
    assert pinned[2] == f"bob/animals is pinned for colours by ann on {day}: we like it"
    assert [line.partition(" is ")[2] for line in banned[:2]] == [
        f"published for compass: score 1.00, lift {scores['compass']['lift']:+.2f} over the base, since {since}",
        f"banned by ann on {day}: withdrawn",
    ]
    assert " is published for no task" in dropped[0]


def _runs(home: Home) -> list[dict[str, Any]]:
    return sorted(ledger_of(home).read("runs").to_pylist(), key=lambda row: row["at"])


def test_a_ban_from_one_task_leaves_the_others_alone(home: Home, run: Run) -> None:
    before = chosen(current_snapshot(home.snapshots))
    done(run("curate", "ban", "ann/colours", "--task", "colours", "--reason", "trained on it"))

    done(run("publish", "--force", "it was trained on it"))

    snapshot = current_snapshot(home.snapshots)
    met = {row["task"] for row in snapshot.read("scores") if row["adapter"].startswith("ann/colours@")}
    assert {task: name for task, name in chosen(snapshot).items() if before[task] != name}.keys() == {"colours"}
    assert met == {"animals", "compass"}
    told = row_of(snapshot, "best", task="colours")["curation"]
    assert told.startswith("in place of ann/colours, banned by ann on ") and told.endswith(": trained on it")


def test_one_that_is_pinned_and_then_banned_is_not_published(home: Home, run: Run) -> None:
    before = chosen(current_snapshot(home.snapshots))
    done(run("curate", "pin", "bob/animals", "--task", "colours", "--reason", "we like it"))
    done(run("publish", "--force", "a trial"))
    done(run("curate", "ban", "bob/animals", "--task", "colours", "--reason", "it was trained on the test set"))

    told = done(run("publish")).stderr

    assert chosen(current_snapshot(home.snapshots)) == before
    assert "bob/animals is pinned by ann on " in told and "The ban outweighs; lift one of them." in told


def test_a_note_stands_in_sql_and_changes_no_choice(home: Home, run: Run) -> None:
    before = current_snapshot(home.snapshots)
    done(run("curate", "note", "cleo/compass", "--reason", "see\tthe card", "--author", "bo"))

    done(run("publish"))

    snapshot = current_snapshot(home.snapshots)
    assert chosen(snapshot) == chosen(before) and snapshot.id != before.id
    told = done(run("sql", "SELECT kind, adapter, author FROM ledger_curation", "--format", "csv")).stdout
    assert told.splitlines() == ["kind,adapter,author", "note,cleo/compass,bo"]
    day = f"{snapshot.read('curation')[0]['decided']:%Y-%m-%d}"
    assert done(run("curate", "list")).stdout == f"note\tcleo/compass\t*\t*\tbo\t{day}\tsee the card\n"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["pin", "zoe/unseen", "--task", "colours", "--reason", "x"], "zoe/unseen has not been seen."),
        (["pin", "wild/zero-b", "--task", "colours", "--reason", "x"], "wild/zero-b was rejected: zero_b."),
        (["pin", "ann/colours", "--task", "nothing", "--reason", "x"], "There is no task 'nothing'."),
        (["ban", "ann/colours", "--reason", " "], "There is no reason."),
    ],
)
def test_an_act_that_cannot_be_meant_is_refused(home: Home, run: Run, words: list[str], told: str) -> None:
    result = run("curate", *words)

    assert str(result.exception).startswith(told)
    assert ledger_of(home).read("curation").num_rows == 0


def test_a_banned_adapter_cannot_be_pinned(home: Home, run: Run) -> None:
    done(run("curate", "ban", "ann/colours", "--reason", "no"))

    result = run("curate", "pin", "ann/colours", "--task", "colours", "--reason", "yes")

    assert "is banned by ann on" in str(result.exception) and "curate unban" in str(result.exception)
