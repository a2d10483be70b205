"""The refresh as a deployment: a Prefect server, real workers, the real prefect.yaml, storage that speaks S3."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx2
import psutil
import pyarrow.parquet as pq
import pytest

from flows.home.home import Home, open_home
from flows.home.parts import engine_here, ledger_of
from flows.stages import crawl, validate
from lorauter.engine.decoding import Decoding
from warehouse.snapshots.snapshot import current_snapshot
from warehouse.tasks.folder import read_tasks, store_task

ROOT = Path(__file__).parents[2]
ONE_RUNG = {"LORAUTER_HALVING__RUNGS": "8"}  # a run on a worker starts for seconds
PREFECT = [sys.executable, "-m", "prefect"]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, prefect_url: str) -> dict[str, str]:
    """The tests' Prefect server with the deployments of prefect.yaml; the environment that reaches it."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PREFECT_")}
    environment |= {
        "PREFECT_HOME": str(tmp_path_factory.mktemp("machine") / "prefect"),
        "PREFECT_API_URL": prefect_url,
        "PREFECT_WORKER_QUERY_SECONDS": "0.5",  # else a run waits for up to ten
        "DO_NOT_TRACK": "1",
        **ONE_RUNG,
    }
    _post(environment, "work_pools/", {"name": "lorauter", "type": "process"})
    _post(environment, "work_pools/lorauter/queues/", {"name": "gpu", "concurrency_limit": 2})
    deploy = [*PREFECT, "--no-prompt", "deploy", "--all"]
    run = subprocess.run(deploy, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=240, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    return environment


def test_refresh_and_batch_run_as_deployments_with_their_shards_on_the_queue_gpu(
    server: dict[str, str], tmp_path: Path, tiny_hub: str, tiny_tasks: Path
) -> None:
    """One home for all. The best adapter's weights were spoilt since they were checked: a worker sets it aside."""
    home = open_home(home=tmp_path / "home", endpoint=tiny_hub, base="tiny/llama", strategy="halving")
    store_task(home.task_folder, read_tasks(tiny_tasks)[0])
    crawl(home)
    validate(home)
    weights = next((home.root / "hub").glob("models--bob--animals/snapshots/*/adapter_model.safetensors"))
    weights.resolve().write_bytes(b"\x08" + bytes(7) + b"no JSON!")
    began, worker = datetime.now(UTC), _worker(server, tmp_path, "only", "default", "gpu")
    try:
        refreshed = _run(server, "refresh/scheduled", {"settings": home.reference})
        answered = _run(server, "answer-batch/batch", _batch(home, tmp_path))
    finally:
        _stop(worker)

    assert (refreshed, answered) == ("COMPLETED", "COMPLETED")
    _check_drawn(home, tmp_path)
    assert [row["repo"] for row in current_snapshot(home.snapshots).read("best")] != ["bob/animals"]
    whys = [row["why"] for row in ledger_of(home).current("rungs") if row["adapter"].startswith("bob/animals@")]
    assert [why.partition("@")[0] for why in whys] == ["quarantined: bob/animals"]
    runs = _flow_runs(server, began)
    assert (runs["refresh"], runs["answer-batch"]) == (["COMPLETED default"], ["COMPLETED default"])
    assert set(runs["score-shard"]) == {"COMPLETED gpu"}


SAMPLING, STOPS = {"temperature": 2.0, "top_p": 0.9, "seed": 4}, ["e", "\n"]


def _batch(home: Home, tmp_path: Path) -> dict[str, Any]:
    """Parameters of a batch whose texts are drawn by workers."""
    queries = tmp_path / "queries.jsonl"
    rows = [{"id": str(n), "input": "Which pet barks?"} for n in range(6)]
    queries.write_text("".join(json.dumps(row) + "\n" for row in rows))
    settings = {**home.reference, "scoring": "workers"}
    given: dict[str, Any] = {"queries": str(queries), "out": str(tmp_path / "answers.parquet"), "settings": settings}
    return given | {"sampling": SAMPLING, "stop": STOPS, "max_new_tokens": 7}


def _check_drawn(home: Home, tmp_path: Path) -> None:
    """The workers drew what the engine draws here, row by row."""
    rows = pq.read_table(tmp_path / "answers.parquet").to_pylist()
    best = current_snapshot(home.snapshots).read("best")[0]
    engine = engine_here(home, best["base"], best["base_sha"])
    routes = [tuple((part["adapter"], part["weight"]) for part in row["adapters"]) for row in rows]
    prompts, names = [f"{row['input']}\nAnswer:" for row in rows], [row["id"] for row in rows]
    drawn = engine.generate(prompts, routes, 7, STOPS, Decoding(**SAMPLING), names)
    assert [row["text"] for row in rows] == drawn
    assert len(set(drawn)) > 1


@pytest.mark.timeout(600)
def test_a_killed_worker_costs_its_shard_in_flight_and_nothing_else(
    server: dict[str, str], tmp_path: Path, tiny_hub: str, tiny_tasks: Path, s3_bucket: str
) -> None:
    """Two workers take shards, each in a home of its own; they share nothing with the refresher but a bucket.

    One is killed -9 while it works, with all its children; the other finishes.
    """
    home = open_home(
        home=tmp_path / "refresher",
        endpoint=tiny_hub,
        base="tiny/llama",
        strategy="halving",
        storage=f"{s3_bucket}/lorauter",
    )
    store_task(home.task_folder, read_tasks(tiny_tasks)[0])
    small = server | {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
    small |= {"LORAUTER_SHARD_ROWS": "16", "LORAUTER_WORKER_SILENCE": "10"}
    began, refresher = datetime.now(UTC), _worker(small, tmp_path, "refresher", "default")
    survivor, victim = (_worker(small, tmp_path, name, "gpu") for name in ("survivor", "victim"))
    try:
        run = _start(server, "refresh/scheduled", {"settings": home.worker_reference})
        _kill_while_it_works(victim, tmp_path / "victim")
        state = _end_of(server, run)
    finally:
        for worker in (refresher, survivor, victim):
            _stop(worker)

    assert state == "COMPLETED"
    best = current_snapshot(home.snapshots).read("best")
    assert [(row["task"], row["repo"], row["score"]) for row in best] == [("animals", "bob/animals", 1.0)]
    keys = ledger_of(home).read("outputs", ["key"])["key"].to_pylist()
    assert len(keys) == len(set(keys)), "no output was stored twice"
    assert {path.name for path in home.root.iterdir()}.isdisjoint({"ledger", "plans"})
    assert {path.name for path in (tmp_path / "survivor").iterdir()} == {"cache", "hub"}
    runs = _flow_runs(server, began)["score-shard"]
    assert (runs.count("CRASHED gpu"), set(runs)) == (1, {"COMPLETED gpu", "CRASHED gpu"})


def _kill_while_it_works(worker: subprocess.Popen[bytes], home: Path) -> None:
    """Kill -9 a worker and its runs, as soon as it fetches what its first shard needs."""
    me, deadline = psutil.Process(worker.pid), time.monotonic() + 200
    while not (home / "hub").exists():
        assert time.monotonic() < deadline, "it never took a shard"
        time.sleep(0.1)
    for process in [me, *me.children(recursive=True)]:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()


def _post(environment: dict[str, str], route: str, body: dict[str, Any]) -> dict[str, Any]:
    """As Prefect's own client, patient with a server whose database is busy."""
    url, deadline = f"{environment['PREFECT_API_URL']}/{route}", time.monotonic() + 60
    answer = httpx2.post(url, json=body, timeout=30, follow_redirects=True)
    while answer.status_code == 503 and time.monotonic() < deadline:
        time.sleep(0.5)
        answer = httpx2.post(url, json=body, timeout=30, follow_redirects=True)
    assert answer.is_success, answer.text
    told: dict[str, Any] = answer.json()
    return told


def _start(environment: dict[str, str], deployment: str, parameters: dict[str, Any]) -> str:
    """A run of a deployment, handed to its queue; its id."""
    url = environment["PREFECT_API_URL"]
    id_ = httpx2.get(f"{url}/deployments/name/{deployment}").json()["id"]
    run = _post(environment, f"deployments/{id_}/create_flow_run", {"parameters": parameters})
    return str(run["id"])


def _end_of(environment: dict[str, str], run: str) -> str:
    """The state in which a run ends."""
    url, deadline = environment["PREFECT_API_URL"], time.monotonic() + 240
    while time.monotonic() < deadline:
        state = str(httpx2.get(f"{url}/flow_runs/{run}", timeout=30).json()["state_type"])
        if state in ("COMPLETED", "FAILED", "CRASHED", "CANCELLED"):
            return state
        time.sleep(0.2)
    return "still running"


def _run(environment: dict[str, str], deployment: str, parameters: dict[str, Any]) -> str:
    """A deployment run to its end; the state it ends in."""
    return _end_of(environment, _start(environment, deployment, parameters))


def _worker(environment: dict[str, str], tmp_path: Path, name: str, *queues: str) -> subprocess.Popen[bytes]:
    with (tmp_path / f"{name}.log").open("wb") as log:
        arguments = [*PREFECT, "worker", "start", "--pool", "lorauter", "--limit", str(len(queues)), "--name", name]
        arguments += [part for queue in queues for part in ("--work-queue", queue)]
        own = environment | {"LORAUTER_HOME": str(tmp_path / name)}
        return subprocess.Popen(arguments, env=own, cwd=tmp_path, stdout=log, stderr=log)


def _flow_runs(environment: dict[str, str], since: datetime) -> dict[str, list[str]]:
    """The runs of deployments made since then by flow, as state and queue; other tests run flows of their own there."""
    url = environment["PREFECT_API_URL"]
    names = {flow["id"]: flow["name"] for flow in httpx2.post(f"{url}/flows/filter", json={}).json()}
    found: dict[str, list[str]] = {}
    for run in httpx2.post(f"{url}/flow_runs/filter", json={"sort": "START_TIME_ASC"}).json():
        made = datetime.fromisoformat(run["created"])
        deployed = run["deployment_id"] and run["state_type"] != "SCHEDULED"  # the cron schedule's later runs
        if made > since and deployed:
            found.setdefault(names[run["flow_id"]], []).append(f"{run['state_type']} {run['work_queue_name']}")
    return found


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
