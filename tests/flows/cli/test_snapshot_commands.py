"""`lorauter snapshots` and `lorauter diff` over a tiny home; the upload by the real client to a small hub."""

from __future__ import annotations

import base64
import json
import shutil
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result
from huggingface_hub import DatasetCard

from flows.cli.main import cli
from flows.home.home import Home, open_home
from flows.home.parts import adapter_folder, ledger_of
from warehouse.snapshots.dataset_card import written
from warehouse.snapshots.snapshot import current_snapshot, publish

BASE = "tiny/llama"
Run = Callable[..., Result]


@pytest.fixture
def home(tmp_path: Path, refreshed: Path) -> Home:
    """A home after one refresh; its hub has gone."""
    root = shutil.copytree(refreshed, tmp_path / "home", symlinks=True)
    (root / "lorauter.toml").write_text(f'base = "{BASE}"\nendpoint = "http://127.0.0.1:9"\n')
    return open_home(home=root)


@pytest.fixture
def run(home: Home) -> Run:
    """Runs a command over the home."""
    return lambda *words, **more: CliRunner().invoke(cli, ["--home", str(home.root), *words], **more)


def without_colours(home: Home) -> str:
    """Publish the same catalog, in which the adapter of `colours` has gone and another does better on `compass`."""
    snapshot = current_snapshot(home.snapshots)
    tables = {name: snapshot.read(name) for name in ("tasks", "inputs", "best", "scores", "rungs", "adapters")}
    tables["scores"] = [row for row in tables["scores"] if not row["adapter"].startswith("ann/colours@")]
    for row in tables["scores"]:
        row["lift"] += 0.5 * (row["task"] == "compass" and row["adapter"].startswith("bob/animals@"))
    return publish(home.snapshots, tables, snapshot.context).id


def test_snapshots_are_listed_with_the_current_one(home: Home, run: Run) -> None:
    first = current_snapshot(home.snapshots).id
    second = without_colours(home)

    lines = [line.split("\t") for line in run("snapshots", "list").stdout.splitlines()]

    assert {line[0]: line[3:] for line in lines} == {first: [], second: ["current"]}


def test_verify_names_the_damaged_file_and_fails(home: Home, run: Run) -> None:
    first = current_snapshot(home.snapshots)
    without_colours(home)
    (first.folder / "rungs.parquet").write_bytes(b"PAR1")

    alone, everything = run("snapshots", "verify"), run("snapshots", "verify", "--all")

    assert (alone.exit_code, everything.exit_code) == (0, 1)
    assert "the checksum of rungs.parquet does not match" in everything.stdout
    assert everything.stdout.count("ok    ") == alone.stdout.count("ok    ") == 1


def test_rollback_publishes_the_earlier_one_again(home: Home, run: Run) -> None:
    first = current_snapshot(home.snapshots)
    without_colours(home)

    result = run("snapshots", "rollback", first.id[:8])

    assert result.stdout == f"{first.folder}\n"
    assert current_snapshot(home.snapshots).id == first.id


def test_prune_keeps_what_may_still_be_read_and_needs_a_bound(home: Home, run: Run) -> None:
    without_colours(home)

    young, unbounded = run("snapshots", "prune", "--keep", "1", "--dry-run"), run("snapshots", "prune")

    assert young.stderr == "0 would go, 0 bytes.\n"
    assert "Say what to keep" in str(unbounded.exception) + unbounded.stderr


def test_diff_tells_who_went_and_who_rose_by_task(home: Home, run: Run) -> None:
    first = current_snapshot(home.snapshots).id
    without_colours(home)

    result = run("diff", first, "--format", "json")

    rows = [json.loads(line) for line in result.stdout.splitlines()]
    told = {(row["task"], row["change"], row["adapter"].partition("@")[0]) for row in rows}
    tasks = ("animals", "colours", "compass")
    assert told == {*((task, "went", "ann/colours") for task in tasks), ("compass", "rose", "bob/animals")}
    assert run("diff", first, "--task", "compass", "--format", "csv").stdout.count("\n") == 3
    assert "There is no task 'nothing' in either." in str(run("diff", first, "--task", "nothing").exception)


def test_a_snapshot_says_what_it_was_made_from(home: Home) -> None:
    sources = current_snapshot(home.snapshots).read("sources")

    made = {(row["table"], row["fragment"]) for row in sources}
    assert {name for table, name in made if table == "outputs"} <= ledger_of(home).names("outputs")
    assert {table for table, _ in made} >= {"repos", "raw", "verdicts", "outputs"}


def test_weights_travel_to_a_machine_without_hub(home: Home, tiny_hub: str, tmp_path: Path) -> None:
    online = open_home(home=home.root, endpoint=tiny_hub)
    result = CliRunner().invoke(cli, ["--home", str(home.root), "publish", "--endpoint", tiny_hub, "--with-weights"])
    assert result.exit_code == 0, result.exception
    snapshot = current_snapshot(online.snapshots)
    keys = {row["adapter"] for row in snapshot.read("best")}

    shutil.rmtree(home.root / "hub")

    assert {key: adapter_folder(home, key).parent for key in keys} == dict.fromkeys(keys, snapshot.folder / "weights")


def test_the_folder_is_a_data_set_with_a_card(home: Home) -> None:
    snapshot = current_snapshot(home.snapshots)

    card = DatasetCard.load(snapshot.folder / "README.md")

    configs = {config["config_name"]: config["data_files"] for config in card.data.to_dict()["configs"]}
    assert configs == {path.stem: path.name for path in snapshot.folder.glob("*.parquet")}
    assert "| tiny&#47;llama | 26 | 4 | 3 | 3 | 1.000 |" in card.text
    assert "`mean metric on examples that did not choose it`" not in card.text
    assert "| `score` | `double` | mean metric on examples that did not choose it |" in card.text


def test_a_hostile_name_is_text_on_a_card() -> None:
    assert written("<script>x</script>|\n[a](b)`") == (
        "&lt;script&gt;x&lt;&#47;script&gt;&#124;�&#91;a&#93;&#40;b&#41;&#96;"
    )


class _Hub(BaseHTTPRequestHandler):
    """The routes by which the Hub's own client commits files."""

    files: dict[str, bytes]

    def log_message(self, *_: object) -> None: ...

    def do_GET(self) -> None:
        self._send([] if "/tree/" in self.path else {"siblings": [], "id": "ann/catalog", "sha": "1" * 40})

    def do_POST(self) -> None:
        length = self.headers.get("Content-Length")
        body = self.rfile.read(int(length)) if length else b"".join(self._chunks())
        if self.path.endswith("/create"):
            self._send({"url": f"http://{self.headers['Host']}/datasets/ann/catalog", "id": "ann/catalog"})
        elif self.path.endswith("/validate-yaml"):
            self._send({"errors": [], "warnings": []})
        elif "/preupload/" in self.path:
            names = [file["path"] for file in json.loads(body)["files"]]
            self._send({"files": [{"path": n, "uploadMode": "regular", "shouldIgnore": False} for n in names]})
        else:
            for line in body.splitlines():
                row = json.loads(line)
                if row["key"] == "file":
                    self.files[row["value"]["path"]] = base64.b64decode(row["value"]["content"])
            self._send(
                {
                    "commitUrl": f"http://{self.headers['Host']}/datasets/ann/catalog/commit/1",
                    "commitOid": "1" * 40,
                    "pullRequestUrl": None,
                }
            )

    def _chunks(self) -> Iterator[bytes]:
        while size := int(self.rfile.readline(), 16):
            yield self.rfile.read(size)
            self.rfile.readline()

    def _send(self, value: Any) -> None:
        data = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


def test_a_snapshot_is_uploaded_whole_only_when_asked(home: Home, run: Run, tmp_path: Path) -> None:
    files: dict[str, bytes] = {}
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Hub", (_Hub,), {"files": files}))
    Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    env = {"LORAUTER_ENDPOINT": f"http://127.0.0.1:{server.server_port}", "LORAUTER_TOKEN": "hf_secret"}
    (home.root / "lorauter.toml").write_text(f'base = "{BASE}"\n')

    unwilling = run("snapshots", "upload", "ann/catalog", env=env, input="n\n")
    nothing = dict(files)
    result = run("snapshots", "upload", "ann/catalog", "--yes", env=env)
    server.shutdown()
    server.server_close()

    snapshot = current_snapshot(home.snapshots)
    assert unwilling.exit_code != 0 and nothing == {}
    assert result.stdout == f"{env['LORAUTER_ENDPOINT']}/datasets/ann/catalog/commit/1\n", result.exception
    assert files == {
        path.relative_to(snapshot.folder).as_posix(): path.read_bytes()
        for path in snapshot.folder.rglob("*")
        if path.is_file()
    }
    (tmp_path / "best.parquet").write_bytes(files["best.parquet"])
    assert pq.read_table(tmp_path / "best.parquet").num_rows == 3


def test_an_older_snapshot_is_routed_by_its_id(home: Home, run: Run) -> None:
    first = current_snapshot(home.snapshots)
    without_colours(home)
    text = "What colour is the 3 in the painting?"

    routes = run("route", text, "--as-of", first.id[:10], "--format", "json")

    assert json.loads(routes.stdout)["snapshot"] == first.id, routes.exception
