"""The settings reach whoever runs shards, here and on workers; a secret reaches the hub and nothing that is kept."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner

from flows.cli.main import cli
from flows.home.home import Home, open_home
from flows.home.parts import engine_here
from flows.home.settings import load_settings
from flows.mirror.accounts import Account
from flows.mirror.server import serve_in_thread
from flows.outputs.shards import run_shards
from flows.refresh import refresh
from lorauter.engine.bank.bank import AdapterBank
from warehouse.snapshots.snapshot import current_snapshot
from warehouse.tasks.folder import read_tasks, store_task

BASE, TOKEN = "tiny/llama", "hf_" + "nobodymayreadthis"
GIVEN = {
    "device": "cpu",
    "dtype": "float32",
    "capacity": 3,
    "policy": {"max_rank": 8, "licences": ["mit"]},
    "racing": {"least_gain": 0.125},
}


@pytest.fixture
def gated_hub(tmp_path: Path, tiny_hub_folder: Path) -> Iterator[str]:
    """A hub whose base is granted to one token alone."""
    folder = shutil.copytree(tiny_hub_folder, tmp_path / "hub")
    (folder / BASE / ".hub.json").write_text(json.dumps({"gated": "manual"}))
    with serve_in_thread(folder, tokens={TOKEN: Account("tiny")}) as hub:
        yield hub.endpoint


def test_a_token_in_the_settings_opens_a_gated_base_and_is_kept_nowhere(
    tmp_path: Path, gated_hub: str, tiny_tasks: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    home = open_home(home=tmp_path / "home", endpoint=gated_hub, base=BASE)
    store_task(home.task_folder, read_tasks(tiny_tasks)[0])

    refresh({**home.reference, "token": TOKEN})

    assert [row["repo"] for row in current_snapshot(home.snapshots).read("best")] == ["bob/animals"]
    kept = stored_parameters(gated_hub)
    assert [parameters["settings"].get("base") for parameters in kept] == [BASE]
    databases = [path for path in Path(os.environ["PREFECT_HOME"]).rglob("*") if path.is_file()]
    files = [path for path in home.root.rglob("*") if path.is_file() and path.stat().st_size < 1 << 20]
    assert [path for path in (*databases, *files) if TOKEN.encode() in path.read_bytes()] == []
    assert TOKEN not in "".join(capfd.readouterr())


def stored_parameters(endpoint: str) -> list[dict[str, dict[str, str]]]:
    """What Prefect keeps of the runs on a hub."""
    with closing(sqlite3.connect(Path(os.environ["PREFECT_HOME"]) / "prefect.db")) as database:
        rows = database.execute("SELECT parameters FROM flow_run").fetchall()
    return [json.loads(text) for (text,) in rows if endpoint in text]


def test_shards_run_on_an_engine_of_the_homes_own_settings(refreshed: Path, tiny_hub: str) -> None:
    home = open_home(home=refreshed, endpoint=tiny_hub, base=BASE, **GIVEN)
    base_sha = home.ledger.current("bases")[0]["base_sha"]

    engine = engine_here(home, BASE, base_sha)

    assert isinstance(engine.bank, AdapterBank)
    assert (engine.bank.capacity, str(engine.bank.device)) == (3, "cpu")
    assert engine_here(open_home(home=refreshed, endpoint=tiny_hub, base=BASE, **GIVEN), BASE, base_sha) is engine


def test_a_worker_is_told_all_that_was_set_and_no_secret(tmp_path: Path) -> None:
    home = open_home(home=tmp_path, token=TOKEN, **GIVEN)

    told = json.loads(json.dumps(home.worker_reference))

    assert TOKEN not in json.dumps(told)
    assert load_settings(**told, token=TOKEN) == home.settings
    assert not {"shard_rows", "scoring", "halving", "token"} & told.keys(), "nobody set them: the worker's own decide"


@pytest.mark.parametrize("command", ["score", "publish", "evaluate"])
def test_every_command_that_scores_hands_its_shards_to_workers_where_the_settings_say_so(
    command: str, refreshed: Path, tiny_hub: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = shutil.copytree(refreshed, tmp_path / "home", symlinks=True)
    handed: list[Path] = []

    def workers(home: Home, plan: str, shards: Sequence[int]) -> Iterator[int]:
        """Stands for the workers: what they do is told in test_deployments."""
        handed.append(home.root)
        return run_shards(home, plan, shards)

    monkeypatch.setattr("flows.outputs.workers.run_shards_on_workers", workers)
    for name, value in (("SCORING", "workers"), ("BASE", BASE), ("ENDPOINT", tiny_hub)):
        monkeypatch.setenv(f"LORAUTER_{name}", value)

    run = CliRunner().invoke(cli, ["--home", str(root), command])

    assert run.exception is None, run.output
    assert set(handed) == {root}
