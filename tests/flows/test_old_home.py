"""A home that an older version wrote (schema 2: two tasks, two adapters, by its own `refresh`) opens as it is."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from flows.cli.main import cli
from flows.home.home import Home, open_home
from flows.home.parts import ledger_of
from lorauter.routing.task_index import load_index
from warehouse.records.pool import Pool
from warehouse.snapshots.snapshot import current_snapshot, open_snapshot, publish

OLD = Path(__file__).parent / "old_home"


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return open_home(home=shutil.copytree(OLD, tmp_path / "home"), base="tiny/llama", endpoint="http://127.0.0.1:9")


def test_its_snapshot_opens_whole_and_can_be_routed_by(home: Home) -> None:
    snapshot = current_snapshot(home.snapshots)

    index = load_index(snapshot)

    assert (snapshot.id, snapshot.holds("changes")) == ("ed900c29bd72396e", False)
    assert (index.tasks, index.encoder.prompt) == (("animals", "colours"), "")
    assert [key.partition("@")[0] for key in index.best] == ["bob/animals", "ann/colours"]


def test_its_tables_and_ledger_answer_sql(home: Home) -> None:
    def ask(query: str) -> list[str]:
        result = CliRunner().invoke(cli, ["--home", str(home.root), "sql", query, "--format", "csv"])
        assert result.exit_code == 0, result.exception
        return result.stdout.splitlines()[1:]

    assert ask("SELECT task, score FROM catalog ORDER BY task") == ["animals,1.0", "colours,1.0"]
    assert ask("SELECT task, status FROM coverage ORDER BY task") == ["animals,below majority", "colours,good"]
    assert ask("SELECT count(*), count(last_modified) FROM ledger_verdicts") == ["2,0"]
    assert ask("SELECT count(*), count(created) FROM ledger_repos") == ["2,0"]
    assert ask("SELECT count(*) FROM ledger_outputs WHERE text IS NOT NULL") == ["28"]


def test_its_repos_make_a_pool_whose_dates_nobody_kept(home: Home) -> None:
    listings = {member.listing.repo: member.listing.created for member in Pool(ledger_of(home), home.wanted).members()}

    assert listings == {"ann/colours": "", "bob/animals": ""}


def test_what_is_published_now_is_compared_with_it(home: Home) -> None:
    old = current_snapshot(home.snapshots)
    tables = {name: old.read(name) for name in ("tasks", "inputs", "best", "rungs", "adapters")}
    kept = [row for row in old.read("scores") if not row["adapter"].startswith("ann/")]

    new = publish(home.snapshots, {**tables, "scores": kept}, old.context)

    assert {(row["change"], row["adapter"].partition("@")[0]) for row in new.read("changes")} == {
        ("went", "ann/colours")
    }
    assert {row["since"] for row in new.read("changes")} == {old.id}
    assert open_snapshot(old.folder) == old
