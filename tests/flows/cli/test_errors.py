"""Bad input: each case is one paragraph with the cause and the next step, exit code 1, and no state damaged."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from flows.cli.main import cli, main
from flows.home.home import Home, open_home
from lorauter.routers import ROUTERS
from warehouse.snapshots.snapshot import current_snapshot
from warehouse.tasks.folder import stored_tasks

BASE = "tiny/llama"
Told = Callable[..., str]


@pytest.fixture
def home(refreshed: Path, tmp_path: Path) -> Home:
    """A copy of a published home, to be damaged."""
    shutil.copytree(refreshed, tmp_path / "home", symlinks=True)
    (tmp_path / "home" / "lorauter.toml").write_text(f'base = "{BASE}"\n')
    return open_home(home=tmp_path / "home")


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Told:
    """Runs a command that must fail, and returns what a person is told."""

    def run(*arguments: object) -> str:
        monkeypatch.setattr(sys, "argv", ["lorauter", *map(str, arguments)])
        with pytest.raises(SystemExit) as stopped:
            main()
        assert stopped.value.code == 1
        lines = capsys.readouterr().err.strip().splitlines()
        return next(line for line in lines if line.startswith("Error: "))

    return run


def test_unknown_base(home: Home, told: Told, tiny_hub: str) -> None:
    said = told("--home", home.root, "validate", "--base", "no/such-model", "--endpoint", tiny_hub)

    assert said == (
        f"Error: no/such-model is not on {tiny_hub}, or is private or gated. "
        "Check the name, or set LORAUTER_TOKEN to a token that may read it."
    )


def test_unknown_base_through_the_flow(home: Home, told: Told, tiny_hub: str) -> None:
    before = current_snapshot(home.snapshots)

    said = told("--home", home.root, "refresh", "--base", "no/such-model", "--endpoint", tiny_hub)

    assert said.startswith("Error: no/such-model is not on ")
    assert current_snapshot(home.snapshots) == before


@pytest.mark.usefixtures("no_wait")
def test_unreachable_endpoint(home: Home, told: Told) -> None:
    said = told("--home", home.root, "crawl", "--endpoint", "http://127.0.0.1:9")

    assert said == (
        "Error: http://127.0.0.1:9 cannot be reached (ConnectError). "
        "Check the address in LORAUTER_ENDPOINT and the network; `lorauter doctor` tests both."
    )


def test_wrong_token(home: Home, told: Told, tiny_hub: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LORAUTER_TOKEN", "hf_not_a_token")

    said = told("--home", home.root, "crawl", "--endpoint", tiny_hub)

    assert said == f"Error: {tiny_hub} refused the token. Set LORAUTER_TOKEN to a valid one, or unset it."
    assert "hf_not_a_token" not in said


def test_home_that_cannot_be_made(tmp_path: Path, told: Told) -> None:
    (tmp_path / "file").write_text("in the way")

    said = told("--home", tmp_path / "file" / "home", "tasks", "list")

    assert said == f"Error: {tmp_path}/file/home cannot be made (Not a directory). Set LORAUTER_HOME elsewhere."


@pytest.mark.parametrize(
    "command",
    [
        *(["answer", "--in", "q.jsonl", "--out"], ["export", "--for", "vllm", "--in", "q.jsonl", "--out"]),
        *(["report", "--out"], ["evaluate", "--json"], ["validate", "--folder", ".", "--json"], ["sql", "x", "--out"]),
    ],
)
def test_a_folder_where_a_file_is_to_be_written_is_refused_before_anything_starts(
    tmp_path: Path, command: list[str]
) -> None:
    refused = CliRunner().invoke(cli, ["--home", str(tmp_path / "home"), *command, str(tmp_path)])

    assert refused.exit_code == 2
    assert f"Invalid value for '{command[-1]}': File '{tmp_path}' is a directory." in refused.output


def test_full_disk(tmp_path: Path, tiny_tasks: Path) -> None:
    big = tmp_path / "big.jsonl"
    big.write_text("".join(json.dumps({"input": f"{n} {'x' * 900}", "target": "y"}) + "\n" for n in range(2000)))
    disk = tmp_path / "disk"
    disk.mkdir()
    script = (
        f"mount -t tmpfs -o size=600k none {disk} || exit 77; "
        f"{sys.executable} -m flows.cli --home {disk}/home tasks add {tiny_tasks}/animals >&2 && "
        f"{sys.executable} -m flows.cli --home {disk}/home tasks add {big}; code=$?; "
        f"{sys.executable} -m flows.cli --home {disk}/home tasks list; exit $code"
    )

    run = subprocess.run(["unshare", "--mount", "sh", "-c", script], capture_output=True, text=True, check=False)

    if run.returncode == 77 or "unshare" in run.stderr:
        pytest.skip("this machine does not let us mount a small disk")
    assert run.returncode == 1
    assert "Error: Cannot write: No space left on device" in run.stderr
    assert "Free some space or set LORAUTER_HOME; nothing is damaged." in run.stderr
    assert [line.split("\t")[0] for line in run.stdout.splitlines()] == ["animals"]


def test_corrupted_snapshot(home: Home, told: Told) -> None:
    snapshot = current_snapshot(home.snapshots)
    damaged = snapshot.folder / "best.parquet"
    content = bytearray(damaged.read_bytes())
    content[100] ^= 1
    damaged.write_bytes(content)

    said = told("--home", home.root, "route", "What colour is it?")

    assert said == (
        f"Error: The snapshot {snapshot.folder} is damaged: the checksum of best.parquet does not match the manifest. "
        "Delete that folder and run `lorauter publish`: the ledger makes it anew without new evaluations."
    )


def test_the_advice_for_a_corrupted_snapshot_works(
    home: Home, told: Told, tiny_hub: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    snapshot = current_snapshot(home.snapshots)
    shutil.rmtree(snapshot.folder)
    monkeypatch.setattr(sys, "argv", ["lorauter", "--home", str(home.root), "publish", "--endpoint", tiny_hub])

    main()

    assert capsys.readouterr().out.strip() == str(snapshot.folder)
    assert current_snapshot(home.snapshots).id == snapshot.id


def test_interrupted_publish_is_never_read(home: Home) -> None:
    snapshot = current_snapshot(home.snapshots)
    half = home.snapshots / ".publish-abandoned"
    half.mkdir()
    (half / "best.parquet").write_bytes(b"half")
    torn = home.snapshots / "0123456789abcdef"
    shutil.copytree(snapshot.folder, torn)
    (torn / "manifest.json").unlink()

    opened = current_snapshot(home.snapshots)

    assert opened == snapshot


def test_task_file_with_a_bad_line(home: Home, told: Told, tmp_path: Path) -> None:
    path = tmp_path / "mine.jsonl"
    good = json.dumps({"input": "a", "target": "b"})
    path.write_text("\n".join([good] * 9 + ['{"input": "a", "target": ']) + "\n")
    before = [task.name for task in stored_tasks(home.task_folder)]

    said = told("--home", home.root, "tasks", "add", path)

    assert said.startswith(f"Error: {path}, line 10 is not JSON (")
    assert said.endswith("Mend the file and run the command again; nothing was stored.")
    assert [task.name for task in stored_tasks(home.task_folder)] == before


def test_task_file_with_a_missing_field(home: Home, told: Told, tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    path.write_text("input,target\n" + "a,b\n" * 9 + "c,\n")

    said = told("--home", home.root, "tasks", "add", path)

    assert said == (
        f"Error: {path}, row 10: field target must be text that is not empty. "
        "Mend the file and run the command again; nothing was stored."
    )


def test_unknown_router(home: Home, told: Told) -> None:
    said = told("--home", home.root, "route", "What colour is it?", "--router", "oracel")

    assert said == f"Error: There is no router 'oracel'. Choose one of: {', '.join(ROUTERS)}."


def test_unknown_router_for_a_batch(home: Home, told: Told, tmp_path: Path) -> None:
    queries = tmp_path / "q.jsonl"
    queries.write_text('{"input": "What colour is it?"}\n')

    said = told("--home", home.root, "answer", "--in", queries, "--out", tmp_path / "a.parquet", "--router", "best")

    assert said.startswith("Error: There is no router 'best'. Choose one of: lorauter, ")
    assert not (tmp_path / "a.parquet").exists()


def test_query_file_that_is_damaged(home: Home, told: Told, tmp_path: Path) -> None:
    queries = tmp_path / "q.jsonl"
    queries.write_text('["no object"]\n{"input": "What colour is it?"}\n')

    said = told("--home", home.root, "answer", "--in", queries, "--out", tmp_path / "a.parquet")

    assert said.startswith(f"Error: {queries}, line 1 is not a JSON object.")


def test_query_file_without_a_row(home: Home, told: Told, tmp_path: Path) -> None:
    queries = tmp_path / "q.jsonl"
    queries.write_text("\n")

    said = told("--home", home.root, "answer", "--in", queries, "--out", tmp_path / "a.parquet")

    assert said == f"Error: {queries} holds no queries. Give at least one row with a field input."


def test_bad_sql_names_what_exists(home: Home, told: Told) -> None:
    said = told("--home", home.root, "sql", "SELECT * FROM adaptors")

    assert said.startswith("Error: Catalog Error: Table with name adaptors does not exist!")


def test_unknown_setting(home: Home, told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LORAUTER_POLICY__MAX_RANK", "many")

    said = told("--home", home.root, "tasks", "list")

    assert said.startswith("Error: Setting POLICY__MAX_RANK: Input should be a valid integer")


def test_adapter_that_was_never_seen(home: Home, told: Told) -> None:
    said = told("--home", home.root, "why", "no/such-adapter")

    assert said == "Error: no/such-adapter has not been seen. Check the name, or run `lorauter refresh` first."


def test_no_tasks_yet(tmp_path: Path, told: Told) -> None:
    said = told("--home", tmp_path / "home", "refresh")

    assert said == "Error: There are no tasks yet. Add some: lorauter tasks add FOLDER_OR_FILE."
