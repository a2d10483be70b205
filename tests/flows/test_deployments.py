"""The refresh as a deployment: a real Prefect server, a real worker, the real prefect.yaml."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from flows.home import open_home
from warehouse.snapshots import current_snapshot
from warehouse.tasks import read_tasks, store_task

ROOT = Path(__file__).parents[2]
PREFECT = [sys.executable, "-m", "prefect"]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[dict[str, str]]:
    """A Prefect server of our own; yields the environment that reaches it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PREFECT_")}
    environment |= {
        "PREFECT_HOME": str(tmp_path / "prefect"),
        "PREFECT_API_URL": f"http://127.0.0.1:{port}/api",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
    }
    with (tmp_path / "server.log").open("wb") as log:
        process = subprocess.Popen(
            [*PREFECT, "server", "start", "--port", str(port), "--no-ui"], env=environment, stdout=log, stderr=log
        )
    try:
        _wait_until_healthy(environment["PREFECT_API_URL"], process)
        yield environment
    finally:
        _stop(process)


def test_refresh_runs_as_a_deployment_with_its_shards_on_the_queue_gpu(
    server: dict[str, str], tmp_path: Path, tiny_hub: str, tiny_tasks: Path
) -> None:
    home = open_home(home=tmp_path / "home", endpoint=tiny_hub, base="tiny/llama")
    store_task(home.task_folder, read_tasks(tiny_tasks)[0])
    _prefect(server, "work-pool", "create", "lorauter", "--type", "process")
    _prefect(server, "work-queue", "create", "gpu", "--pool", "lorauter", "--limit", "1")
    _prefect(server, "--no-prompt", "deploy", "--all")
    worker = _worker(server, tmp_path)
    try:
        parameters = json.dumps(home.reference)

        _prefect(server, "deployment", "run", "refresh/scheduled", "--param", f"settings={parameters}", "--watch")
    finally:
        _stop(worker)

    best = current_snapshot(home.snapshots).read("best")
    assert [(row["task"], row["repo"], row["score"]) for row in best] == [("animals", "bob/animals", 1.0)]
    runs = _flow_runs(server)
    assert runs["refresh"] == ["COMPLETED default"]
    assert set(runs["score-shard"]) == {"COMPLETED gpu"}


def _prefect(environment: dict[str, str], *arguments: str) -> str:
    run = subprocess.run(
        [*PREFECT, *arguments], env=environment, cwd=ROOT, capture_output=True, text=True, timeout=240, check=False
    )
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout


def _worker(environment: dict[str, str], tmp_path: Path) -> subprocess.Popen[bytes]:
    with (tmp_path / "worker.log").open("wb") as log:
        arguments = [*PREFECT, "worker", "start", "--pool", "lorauter", "--limit", "2", "--name", "only"]
        arguments += ["--work-queue", "default", "--work-queue", "gpu"]
        return subprocess.Popen(arguments, env=environment, cwd=tmp_path, stdout=log, stderr=log)


def _flow_runs(environment: dict[str, str]) -> dict[str, list[str]]:
    url = environment["PREFECT_API_URL"]
    names = {flow["id"]: flow["name"] for flow in httpx2.post(f"{url}/flows/filter", json={}).json()}
    found: dict[str, list[str]] = {}
    for run in httpx2.post(f"{url}/flow_runs/filter", json={"sort": "START_TIME_ASC"}).json():
        if run["state_type"] != "SCHEDULED":  # the cron schedule's later runs
            found.setdefault(names[run["flow_id"]], []).append(f"{run['state_type']} {run['work_queue_name']}")
    return found


def _wait_until_healthy(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        assert process.poll() is None, "the server ended"
        try:
            if httpx2.get(f"{url}/health", timeout=2).status_code == 200:
                return
        except httpx2.HTTPError:
            pass
        time.sleep(0.5)
    raise AssertionError("the server did not come up in 90 s")


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
