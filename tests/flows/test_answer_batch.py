"""Batch answers: rows with faults, adapters that vanish, chunks, kills; a tiny world, all real."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from catalog.adapter import AdapterId
from catalog.errors import SettingError
from flows.answer_batch import answer_batch
from flows.home import Home, open_home
from flows.mirror.server import serve_in_thread
from flows.refresh import refresh
from warehouse.snapshots import current_snapshot
from warehouse.tasks import read_tasks, store_task

BASE = "tiny/llama"


@pytest.fixture(scope="module")
def hub_folder(tmp_path_factory: pytest.TempPathFactory, tiny_hub_folder: Path) -> Path:
    folder = tmp_path_factory.mktemp("own") / "hub"
    shutil.copytree(tiny_hub_folder, folder)
    return folder


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory, hub_folder: Path, tiny_tasks: Path) -> Iterator[Home]:
    """A home with a published snapshot."""
    with serve_in_thread(hub_folder) as hub:
        home = open_home(home=tmp_path_factory.mktemp("home"), endpoint=hub.endpoint, base=BASE, answer_rows=4)
        for task in read_tasks(tiny_tasks):
            store_task(home.task_folder, task)
        refresh(home.reference)
        yield home


def settings_of(home: Home) -> dict[str, Any]:
    return {**home.reference, "answer_rows": 4}


def queries_of(home: Home, path: Path, extra: list[dict[str, Any]] | None = None) -> Path:
    rows = [
        {"id": f"{task.name}-{n}", "input": e.input, "task": task.name, "max_new_tokens": 3}
        for task in home.tasks()
        for n, e in enumerate(task.test)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in [*rows, *(extra or [])]))
    return path


def rows_of(out: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(out).to_pylist()
    return rows


def told(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows but for what a clock says."""
    return [{k: v for k, v in row.items() if not k.endswith("_seconds")} for row in rows]


def test_a_row_with_a_fault_carries_it_and_the_rest_is_answered(published: Home, tmp_path: Path) -> None:
    faults: list[dict[str, Any]] = [{"input": " "}, {"input": "x", "max_new_tokens": 0}, {"input": "x", "metric": "no"}]
    queries, out = queries_of(published, tmp_path / "q.jsonl", faults), tmp_path / "a.parquet"

    outcome = answer_batch(str(queries), str(out), settings=settings_of(published))

    rows = rows_of(out)
    assert (outcome["answers"], outcome["failed"]) == (len(queries.read_text().splitlines()), 3)
    assert [row["error"].partition(": ")[2] for row in rows if row["error"]] == [
        "field input must be text that is not empty.",
        "field max_new_tokens is '0': use 1 to 4096.",
        f"field metric is 'no': use one of {', '.join(TEXT_METRICS)}.",
    ]
    assert all(row["text"] is not None and row["route_seconds"] > 0 for row in rows if not row["error"])
    assert not list(tmp_path.glob(".*.parts"))


TEXT_METRICS = (
    *("exact_match", "lenient_match", "token_f1", "bleu", "rouge_1", "rouge_2", "rouge_l"),
    "struct_to_text",
)


def test_a_vanished_adapter_gives_way_to_the_tasks_next_best_and_the_row_says_so(
    published: Home, hub_folder: Path, tmp_path: Path
) -> None:
    queries, out = queries_of(published, tmp_path / "q.jsonl"), tmp_path / "a.parquet"
    best = next(r for r in current_snapshot(published.snapshots).read("best") if r["task"] == "colours")
    lost = [hub_folder / best["repo"], *(published.root / "hub").glob("models--" + best["repo"].replace("/", "--"))]
    for folder in lost:
        folder.rename(tmp_path / f"away-{len(list(tmp_path.iterdir()))}")
    aways = sorted(tmp_path.glob("away-*"), key=lambda path: path.name)

    try:
        answer_batch(str(queries), str(out), settings=settings_of(published))
    finally:
        for away, folder in zip(aways, lost, strict=True):
            away.rename(folder)

    scores = current_snapshot(published.snapshots).read("scores")
    others = [
        row
        for row in scores
        if row["task"] == "colours" and row["adapter"] not in ("", best["adapter"]) and row["lift"] > 0
    ]
    next_best = min(others, key=lambda row: (-row["mean"], -row["n"], row["adapter"]))["adapter"] if others else ""
    routed = [row for row in rows_of(out) if row["tasks"][0]["task"] == "colours"]
    assert routed
    assert all(f["used"] == next_best for row in routed for f in row["fallbacks"] if f["task"] == "colours")
    assert {f["gone"] for row in routed for f in row["fallbacks"]} == {best["adapter"]}
    assert not [row for row in rows_of(out) if best["adapter"] in {a["adapter"] for a in row["adapters"]}]
    assert AdapterId.parse(best["adapter"]).name == "ann/colours"


def test_other_settings_route_otherwise(published: Home, tmp_path: Path) -> None:
    queries, out = queries_of(published, tmp_path / "q.jsonl"), tmp_path / "a.parquet"

    answer_batch(str(queries), str(out), settings={**settings_of(published), "routing": {"top_k": 1}})

    assert {len(row["tasks"]) for row in rows_of(out)} == {1}


def test_a_plain_prompt_is_the_input_itself(published: Home, tmp_path: Path) -> None:
    queries, out = queries_of(published, tmp_path / "q.jsonl"), tmp_path / "a.parquet"

    answer_batch(str(queries), str(out), ["base"], template="plain", settings=settings_of(published))

    prompts = {row["prompt"] for row in published.ledger.read("outputs").to_pylist()}
    assert {row["input"] for row in rows_of(out)} <= prompts


def test_a_killed_batch_goes_on_where_it_was_and_ends_alike(published: Home, tmp_path: Path) -> None:
    queries, undisturbed, out = (
        queries_of(published, tmp_path / "q.jsonl"),
        tmp_path / "u.parquet",
        tmp_path / "a.parquet",
    )
    home = open_home(**{**published.reference, "home": str(tmp_path / "home")})
    shutil.copytree(published.root, home.root, dirs_exist_ok=True, symlinks=True)
    answer_batch(str(queries), str(undisturbed), settings=settings_of(published))
    run = _answering(home, queries, out)
    while not list(tmp_path.glob(".a.parquet.parts/*.parquet")) and run.poll() is None:
        time.sleep(0.01)
    run.send_signal(signal.SIGKILL)
    run.wait()
    parts = {path.name: path.stat().st_mtime_ns for path in tmp_path.glob(".a.parquet.parts/*.parquet")}

    last = _answering(home, queries, out)

    assert last.wait(120) == 0
    assert parts or not list(tmp_path.glob(".a.parquet.parts"))
    assert told(rows_of(out)) == told(rows_of(undisturbed))


def _answering(home: Home, queries: Path, out: Path) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "LORAUTER_ANSWER_ROWS": "4", "PREFECT_HOME": str(home.root / "prefect")}
    environment |= {"LORAUTER_BASE": BASE, "LORAUTER_ENDPOINT": home.settings.endpoint}
    command = [sys.executable, "-m", "flows.cli", "--home", str(home.root), "answer"]
    return subprocess.Popen([*command, "--in", str(queries), "--out", str(out)], env=environment)


def test_a_composition_serves_the_route_its_own_way_and_the_row_says_which(published: Home, tmp_path: Path) -> None:
    queries = queries_of(published, tmp_path / "q.jsonl")

    texts = {}
    for name in ("mixture", "cat", "selection"):
        out = tmp_path / f"{name}.parquet"
        answer_batch(str(queries), str(out), compose=name, settings=settings_of(published))
        rows = rows_of(out)
        texts[name] = [row["text"] for row in rows]
        assert {(json.loads(row["composition"] or '["mixture"]')[0], row["error"]) for row in rows} == {(name, None)}

    assert texts["cat"] == texts["mixture"]
    kept = {row["composition"] for row in published.ledger.read("outputs", ["composition"]).to_pylist()}
    assert len(kept) == 3


def test_routes_that_a_composition_refuses_carry_the_reason(published: Home, tmp_path: Path) -> None:
    queries, out = queries_of(published, tmp_path / "q.jsonl"), tmp_path / "a.parquet"

    answer_batch(str(queries), str(out), compose="ties", settings=settings_of(published))

    refused = [row["error"] for row in rows_of(out) if row["error"]]
    assert refused
    assert all("rank" in error for error in refused)


def test_an_unknown_composition_is_told_before_anything_runs(published: Home, tmp_path: Path) -> None:
    queries, out = queries_of(published, tmp_path / "q.jsonl"), tmp_path / "a.parquet"

    with pytest.raises(SettingError, match="no composition 'blend'"):
        answer_batch(str(queries), str(out), compose="blend", settings=settings_of(published))


def test_a_base_without_a_chat_template_is_told(published: Home, tmp_path: Path) -> None:
    queries, out = queries_of(published, tmp_path / "q.jsonl"), tmp_path / "a.parquet"

    with pytest.raises(SettingError, match="no chat template"):
        answer_batch(str(queries), str(out), template="chat", settings=settings_of(published))
