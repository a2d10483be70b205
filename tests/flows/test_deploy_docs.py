"""docs/deploy.md, run: every command of it, in its order, on a server with PostgreSQL, real workers and a bucket."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import psutil
import pytest

from flows.home.home import open_home
from flows.home.parts import ledger_of
from warehouse.snapshots.snapshot import current_snapshot

ROOT = Path(__file__).parents[2]
DOCUMENT = ROOT / "docs/deploy.md"
STAYS = ("prefect server start", "prefect worker start")  # commands that do not end
NEEDED = ("initdb", "pg_ctl", "createdb", "pg_dump")
ONE_RUNG = {"LORAUTER_STRATEGY": "halving", "LORAUTER_HALVING__RUNGS": "8"}  # a run on a worker starts for seconds
FOLDERS = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])


def commands() -> list[tuple[str, str]]:
    """(machine, command) of every line of every block, in order."""
    blocks = re.findall(r"^```(\w+) ?(.*)\n([^`]*)^```$", DOCUMENT.read_text(encoding="utf-8"), re.MULTILINE)
    assert {kind for kind, _, _ in blocks} == {"sh"}, "every block is marked as one that is run"
    return [(machine, line) for _, machine, body in blocks for line in body.splitlines()]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def postgres() -> Iterator[dict[str, str]]:
    """An empty PostgreSQL of our own with a password; yields what reaches it. It refuses to run as root."""
    lacking = [name for name in NEEDED if not shutil.which(name)]
    if lacking:
        pytest.skip(f"no PostgreSQL here ({', '.join(lacking)}): install one to run what docs/deploy.md says")
    folder, port = Path(tempfile.mkdtemp(prefix="lorauter-postgres-")), str(free_port())
    (folder / "password").write_text("a-secret")
    as_user = []
    if os.getuid() == 0:
        as_user = ["setpriv", "--reuid", "nobody", "--regid", "nogroup", "--clear-groups"]
        for path in (folder, folder / "password"):
            shutil.chown(path, "nobody")

    def run(*command: str) -> None:
        subprocess.run([*as_user, *command], check=True, cwd=folder, stdout=subprocess.DEVNULL, timeout=120)

    where = ("-D", str(folder / "data"))
    run("initdb", *where, "-U", "prefect", "-A", "scram-sha-256", f"--pwfile={folder}/password", "--no-sync")
    options = f"-p {port} -k {folder} -h 127.0.0.1 -c fsync=off"
    run("pg_ctl", *where, "-o", options, "-l", f"{folder}/log", "-w", "start")
    try:
        yield {"PGHOST": "127.0.0.1", "PGPORT": port, "PGUSER": "prefect", "PGPASSWORD": "a-secret"}
    finally:
        run("pg_ctl", *where, "-m", "immediate", "stop")
        shutil.rmtree(folder)


@pytest.fixture
def alerts() -> Iterator[tuple[str, list[str]]]:
    """A webhook's URL, and the texts it was sent."""
    texts: list[str] = []

    class Webhook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            texts.append(json.loads(self.rfile.read(int(self.headers["Content-Length"])))["text"])
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Webhook)
    Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/hook", texts
    server.shutdown()
    server.server_close()


class Machine:
    """A shell: its folder, its variables, what it started and left running."""

    def __init__(self, folder: Path, variables: dict[str, str]) -> None:
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("PREFECT_")}
        self.folder, self.processes = folder, list[subprocess.Popen[bytes]]()
        self.variables = inherited | variables | {"PATH": FOLDERS, "LORAUTER_HOME": str(folder / "home")}
        self.variables |= {"PREFECT_HOME": str(folder / "prefect"), "DO_NOT_TRACK": "1"}
        folder.mkdir()

    def do(self, line: str) -> None:
        """Run a line as a person would. Raises AssertionError with what it said where it fails."""
        if line.startswith(STAYS):
            log = (self.folder / f"{line.split()[1]}.log").open("wb")
            started = subprocess.Popen(
                ["bash", "-c", line], env=self.variables, cwd=self.folder, stdout=log, stderr=log
            )
            self.processes.append(started)
            return
        left = self.folder / "variables"
        run = subprocess.run(
            ["bash", "-c", f"set -e\n{line}\nenv -0 > '{left}'"],
            env=self.variables,
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        assert run.returncode == 0, f"{line}\n{run.stdout}{run.stderr}"
        self.variables = dict(pair.split("=", 1) for pair in left.read_text().split("\0") if pair)

    def stop(self) -> None:
        """End what runs here, with all its children."""
        for process in self.processes:
            family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
            for one in family:
                one.terminate()
            _, alive = psutil.wait_procs(family, timeout=15)
            for one in alive:
                one.kill()


@pytest.mark.timeout(600)
def test_every_command_of_the_document_does_what_it_says(
    tmp_path: Path,
    postgres: dict[str, str],
    alerts: tuple[str, list[str]],
    s3_server: str,
    s3_bucket: str,
    tiny_hub: str,
    tiny_tasks: Path,
) -> None:
    port, (alert_url, texts) = free_port(), alerts
    given = {"LORAUTER_ENDPOINT": tiny_hub, "LORAUTER_BASE": "tiny/llama", "ALERT_URL": alert_url, **postgres}
    given |= ONE_RUNG | {"PREFECT_WORKER_QUERY_SECONDS": "0.5"}  # else each run waits for up to ten
    given |= {"SERVER": f"127.0.0.1:{port}", "SERVER_AUTH": "me:a-secret", "PREFECT_SERVER_API_PORT": str(port)}
    _make_bucket(s3_server, "lorauter")
    machines = {name: Machine(tmp_path / name, given) for name in ("server", "default", "gpu")}
    shutil.copy(ROOT / "prefect.yaml", tmp_path / "default")
    shutil.copytree(tiny_tasks / "animals", tmp_path / "default/my_tasks/animals")
    try:
        for where, line in commands():
            for machine in machines.values() if where == "every machine" else [machines[where]]:
                machine.do(line)
            if line.startswith("prefect server start"):
                _wait_until_healthy(port)
        _wait_for(texts)
    finally:
        for machine in reversed(machines.values()):
            machine.stop()

    best = current_snapshot(tmp_path / "default/home/snapshots").read("best")
    assert [(row["task"], row["repo"], row["score"]) for row in best] == [("animals", "bob/animals", 1.0)]
    shared = open_home(home=tmp_path / "mine", storage="s3://lorauter/catalog")
    assert ledger_of(shared).read("outputs").num_rows > 0
    assert {path.name for path in (tmp_path / "gpu/home").iterdir()} == {"cache", "hub"}
    assert [(text.split()[:2], "is Failed." in text) for text in texts] == [(["lorauter:", "refresh"], True)]
    assert (tmp_path / "server/prefect.dump").stat().st_size > 10_000
    stored = subprocess.run(["pg_dump", "prefect"], env=machines["server"].variables, capture_output=True, check=True)
    secrets = (os.environ["AWS_SECRET_ACCESS_KEY"].encode(), alert_url.encode())
    assert (b"s3://lorauter/catalog" in stored.stdout, [s for s in secrets if s in stored.stdout]) == (True, [])
    assert "sqlite" not in (tmp_path / "server/server.log").read_text()


def _make_bucket(server: str, name: str) -> None:
    urllib.request.urlopen(urllib.request.Request(f"{server}/{name}", method="PUT")).close()


def _wait_until_healthy(port: int) -> None:
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/api/health", timeout=2).close()
            return
        except urllib.error.HTTPError as error:
            if error.code == 401:  # it asks who we are: it is up
                return
        except OSError:
            pass
        time.sleep(0.5)
    raise AssertionError("the server did not come up in 90 s")


def _wait_for(texts: list[str]) -> None:
    deadline = time.monotonic() + 90
    while not texts and time.monotonic() < deadline:
        time.sleep(0.5)
