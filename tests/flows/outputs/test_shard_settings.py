"""The settings reach whoever runs shards, here and on workers; a secret reaches the hub and nothing that is kept."""

from __future__ import annotations

import gc
import json
import os
import shutil
import sqlite3
import weakref
from collections.abc import Iterator, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest
from click.testing import CliRunner

from flows.cli.main import cli
from flows.home.home import Home, open_home
from flows.home.parts import adapter_folder, conditions_on, engine_here, hub_of, ledger_of, loaded_engine, plans_of
from flows.home.settings import Settings, load_settings
from flows.mirror.accounts import Account
from flows.mirror.server import serve_in_thread
from flows.outputs.workers import Workers
from flows.refresh import refresh
from flows.score_shards import score_shard
from lorauter.engine.bank.bank import AdapterBank
from warehouse.plans.plan import Work, make_plan
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
    base_sha = ledger_of(home).current("bases")[0]["base_sha"]

    engine = engine_here(home, BASE, base_sha)

    assert isinstance(engine.bank, AdapterBank)
    assert (engine.bank.capacity, str(engine.bank.device)) == (3, "cpu")
    assert engine_here(open_home(home=refreshed, endpoint=tiny_hub, base=BASE, **GIVEN), BASE, base_sha) is engine


def test_one_engine_at_a_time_is_held_and_its_home_opened_once(refreshed: Path, tiny_hub: str) -> None:
    home = open_home(home=refreshed, endpoint=tiny_hub, base=BASE, **GIVEN)
    base_sha = ledger_of(home).current("bases")[0]["base_sha"]
    engine = loaded_engine(home, BASE, base_sha, "float32")
    held = weakref.ref(engine)

    assert loaded_engine(home, BASE, base_sha, "float32") is engine
    assert isinstance(engine.find_adapter, partial)
    assert (engine.find_adapter.func, engine.find_adapter.args) == (adapter_folder, (home,))
    del engine
    other = loaded_engine(home, BASE, base_sha, "bfloat16")

    gc.collect()
    assert (held(), other.dtype) == (None, "bfloat16")


EVERY = {
    "storage": "/shared",
    "endpoint": "http://127.0.0.1:1",
    "base": "me/base",
    "bases": ["me/other"],
    "targets": ["tag:medical"],
    "aliases": {"me/copy": "me/base"},
    "sweep_days": 1.5,
    "readers": 2,
    "page_size": 3,
    "base_revision": "v2",
    "encoder": "me/encoder",
    "encoder_revision": "v3",
    "encoder_prompt": "query: ",
    "encoder_dtype": "bfloat16",
    "device": "cuda:1",
    "dtype": "float16",
    "scoring": "workers",
    "shard_rows": 4,
    "worker_silence": 45.0,
    "answer_rows": 5,
    "capacity": 3,
    "policy": {"max_rank": 8, "licences": ["mit"], "blocked": ["eve/copycat"]},
    "strategy": "halving",
    "report": 0.25,
    "unconfirmed": "base",
    "formats": "task",
    "fit": ["dlp_lora"],
    "fit_seconds": 60.0,
    "fit_seed": 3,
    "racing": {"least_gain": 0.125},
    "halving": {"rungs": [2, 4]},
    "polar": {"resident": 3},
    "routing": {"top_k": 2, "max_bytes": "50MB"},
    "gate": {"lift_fall": 0.5},
    "with_weights": True,
    "keep_snapshots": 7,
    "author": "ann",
    "plan": {"adapters": 9},
}


def test_every_setting_that_is_given_reaches_a_worker_whatever_its_own_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = Home(load_settings(home=tmp_path, token=TOKEN, **EVERY))
    assert {*EVERY, "home", "token"} == {*Settings.model_fields}, "a new setting needs a value here"
    told = json.loads(json.dumps(home.worker_reference))
    for name, own in (("DEVICE", "cpu"), ("CAPACITY", "99"), ("RACING__LEAST_GAIN", "0.5"), ("POLICY__MAX_RANK", "64")):
        monkeypatch.setenv(f"LORAUTER_{name}", own)
    monkeypatch.setenv("LORAUTER_TOKEN", TOKEN)

    worker = load_settings(**told, home=tmp_path)

    assert TOKEN not in json.dumps(told)
    assert worker == home.settings
    defaults = {name: field.default for name, field in Settings.model_fields.items()}
    assert [name for name in EVERY if getattr(worker, name) == defaults[name]] == []


@pytest.mark.parametrize("source", ["environment", "home's file", "named file"])
def test_settings_reach_a_worker_from_wherever_they_were_given(
    source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = 'device = "cpu"\ndtype = "float32"\ncapacity = 3\n[racing]\nleast_gain = 0.125\n'
    if source == "environment":
        for name, value in (
            ("DEVICE", "cpu"),
            ("DTYPE", "float32"),
            ("CAPACITY", "3"),
            ("RACING__LEAST_GAIN", "0.125"),
        ):
            monkeypatch.setenv(f"LORAUTER_{name}", value)
    elif source == "home's file":
        (tmp_path / "lorauter.toml").write_text(text)
    else:
        (tmp_path / "other.toml").write_text(text)
        monkeypatch.setenv("LORAUTER_CONFIG", str(tmp_path / "other.toml"))

    told = json.loads(json.dumps(open_home(home=tmp_path).worker_reference))

    assert (told["device"], told["dtype"], told["capacity"], told["racing"]["least_gain"]) == (
        "cpu",
        "float32",
        3,
        0.125,
    )


def test_a_worker_opens_a_gated_base_by_the_token_of_its_own_environment(
    tmp_path: Path, gated_hub: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    home = open_home(home=tmp_path / "home", endpoint=gated_hub, base=BASE, token=TOKEN, **GIVEN)
    conditions = conditions_on(home, BASE, hub_of(home).repo_files(BASE)[0])
    plan = make_plan(plans_of(home), ledger_of(home), [Work("red", (), 3)], conditions, 8)
    monkeypatch.setenv("LORAUTER_TOKEN", TOKEN)

    score_shard(home.worker_reference, plan.name, 0)

    assert [row["error"] for row in ledger_of(home).read("outputs").to_pylist()] == [None]
    kept = [parameters["reference"] for parameters in stored_parameters(gated_hub) if "reference" in parameters]
    assert [(told["capacity"], told["dtype"], "token" in told) for told in kept] == [(3, "float32", False)]
    databases = [path for path in Path(os.environ["PREFECT_HOME"]).rglob("*") if path.is_file()]
    assert [path for path in databases if TOKEN.encode() in path.read_bytes()] == []
    assert TOKEN not in "".join(capfd.readouterr())


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
    shutil.rmtree(root / "ledger" / "outputs")
    handed: list[str] = []

    def run(workers: Workers, plan: str, shards: Sequence[int]) -> Iterator[int]:
        """Stands for the queue: how it hands shards out is told in test_deployments."""
        for shard in shards:
            handed.append(workers.settings["home"])
            score_shard.fn(dict(workers.settings), plan, shard)
            yield shard

    monkeypatch.setattr(Workers, "run", run)
    for name, value in (("SCORING", "workers"), ("BASE", BASE), ("ENDPOINT", tiny_hub)):
        monkeypatch.setenv(f"LORAUTER_{name}", value)

    run = CliRunner().invoke(cli, ["--home", str(root), command])

    assert run.exception is None, run.output
    assert set(handed) == {str(root)}
