"""The thread from crawl to answers on a tiny world: real client, encoder, engine and Prefect flows."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import duckdb
import pyarrow.parquet as pq
import pytest

import lorauter
from catalog.adapters.adapter import AdapterId
from catalog.errors import SettingError
from catalog.tasks.task import Example
from flows.home.home import Home, open_home
from flows.home.parts import ledger_of, open_encoder, open_router
from flows.mirror.server import serve_in_thread
from lorauter.engine.version import ENGINE_VERSION
from lorauter.racing.selection import split_examples
from lorauter.routing.task_index import load_index
from tests.processes import ended, kill_when, start_command
from warehouse.snapshots.snapshot import current_snapshot, open_snapshot
from warehouse.tasks.folder import read_tasks, store_task, stored_tasks

BASE = "tiny/llama"
REASONS = {
    "ann/colours": None,
    "bob/animals": None,
    "cleo/compass": None,
    "wild/bad-config": "bad_config",
    "wild/checkpoints:checkpoint-200": None,
    "wild/classifier": "task_type",
    "wild/config-only": "no_weights",
    "wild/copycat": "duplicate",
    "wild/foreign-keys": "no_matching_modules",
    "wild/empty-file": "truncated",
    "wild/full-model": "no_adapter",
    "wild/half-upload": "truncated",
    "wild/header-bomb": "bad_header",
    "wild/ia3": "peft_type",
    "wild/lfs-pointer": "lfs_pointer",
    "wild/misnamed": "misnamed_weights",
    "wild/mlx": "not_peft",
    "wild/name-backslash:..\\..\\windows": "hostile_name",
    "wild/name-control:red\x1b[31m\nalert": "hostile_name",
    "wild/name-encoded:..%2f..%2fetc": "hostile_name",
    "wild/name-markup:<script>alert(1)<script>": "hostile_name",
    "wild/nan-weights": "non_finite",
    "wild/other-base": "wrong_base",
    "wild/pickle-only": "pickle_only",
    "wild/triple-prefix": "key_prefix",
    "wild/zero-b": "zero_b",
}


@pytest.fixture
def home(tmp_path: Path, tiny_hub: str, tiny_tasks: Path) -> Home:
    """A fresh home with the tiny tasks, pointed at the tiny hub."""
    opened = open_home(home=tmp_path / "home", endpoint=tiny_hub, base=BASE)
    for task in read_tasks(tiny_tasks):
        store_task(opened.task_folder, task)
    return opened


@pytest.fixture
def published(tmp_path: Path, tiny_hub: str, refreshed: Path) -> Home:
    """A home after one refresh, to be changed."""
    root = shutil.copytree(refreshed, tmp_path / "published", symlinks=True)
    return open_home(home=root, endpoint=tiny_hub, base=BASE)


def test_refresh_judges_every_adapter_and_publishes_the_best_of_each_task(home: Home) -> None:
    from flows.refresh import refresh

    outcome = refresh(home.reference)

    snapshot = current_snapshot(home.snapshots)
    assert outcome["snapshot"] == snapshot.id
    reasons = {AdapterId.parse(row["adapter"]).name: row["reason"] for row in snapshot.read("adapters")}
    assert reasons == REASONS
    best = {row["task"]: (AdapterId.parse(row["adapter"]).name, row["score"]) for row in snapshot.read("best")}
    assert best == {"animals": ("bob/animals", 1.0), "colours": ("ann/colours", 1.0), "compass": ("cleo/compass", 1.0)}


def test_a_second_refresh_asks_for_no_file_and_makes_no_output(home: Home) -> None:
    from catalog.hub.client import COUNT
    from flows.refresh import refresh

    first = refresh(home.reference)
    files_before = COUNT.file

    second = refresh(home.reference)

    assert second["evaluations"] == {**first["evaluations"], "new": 0}
    assert COUNT.file - files_before == 0
    assert second["snapshot"] == first["snapshot"]
    runs = sorted(ledger_of(home).read("runs").to_pylist(), key=lambda row: row["started"])
    assert [(run["command"], run["new"]) for run in runs] == [
        ("refresh", first["evaluations"]["new"]),
        ("refresh", 0),
    ]
    assert runs[0]["file_requests"] > 0 == runs[1]["file_requests"]
    assert runs[0]["listed"] > runs[1]["listed"]  # what changed in the mark's own second is listed again
    told = [row["run"] for row in current_snapshot(home.snapshots).read("runs")]
    assert told == [runs[0]["run"]]  # an equal catalog keeps its folder


def test_a_further_task_costs_only_its_own_evaluations(home: Home, tiny_tasks: Path) -> None:
    from flows.refresh import refresh

    for name in ("animals", "compass"):
        (home.task_folder / name / "task.json").rename(home.root / f"{name}.json")
    refresh(home.reference)
    (home.root / "animals.json").rename(home.task_folder / "animals" / "task.json")

    second = refresh(home.reference)

    table = ledger_of(home).read("outputs").to_pylist()
    assert second["evaluations"]["new"] == sum(row["task"] == "animals" for row in table) > 0


def test_a_new_adapter_costs_its_own_evaluations_and_what_the_leaders_need_against_it(
    tmp_path: Path, tiny_hub_folder: Path, tiny_tasks: Path, write_adapter: Callable[..., None]
) -> None:
    from flows.refresh import refresh

    folder = tmp_path / "hub"
    shutil.copytree(tiny_hub_folder, folder)
    with serve_in_thread(folder) as hub:
        home = open_home(home=tmp_path / "home", endpoint=hub.endpoint, base=BASE)
        for task in read_tasks(tiny_tasks):
            store_task(home.task_folder, task)
        first = refresh(home.reference)
        leaders = {row["adapter"] for row in current_snapshot(home.snapshots).read("best")}
        before = set(ledger_of(home).read("outputs")["key"].to_pylist())
        write_adapter(folder / BASE, folder / "dora/newcomer", seed=5, rank=4)

        second = refresh(home.reference)

    made = [row for row in ledger_of(home).read("outputs").to_pylist() if row["key"] not in before]
    by = {AdapterId.parse(row["adapters"][0]).name for row in made if set(row["adapters"]) - leaders}
    assert second["evaluations"]["new"] == len(made) > 0
    assert by == {"dora/newcomer"}
    assert all(row["adapters"] for row in made)  # the base is not asked again
    assert first["snapshot"] != second["snapshot"]


def test_an_exhaustive_run_meets_every_selection_example(home: Home) -> None:
    from flows.refresh import refresh

    outcome = refresh({**home.reference, "strategy": "exhaustive"})

    scores = open_snapshot(Path(outcome["folder"])).read("scores")
    sizes = {task.name: len(split_examples(task, 0.4)[0]) for task in stored_tasks(home.task_folder)}
    adapters = {key for key, reason in REASONS.items() if reason is None}
    assert {(row["task"], row["n"]) for row in scores} == set(sizes.items())
    assert len(scores) == len(sizes) * (len(adapters) + 1)


def test_a_changed_task_costs_only_its_own_evaluations(published: Home) -> None:
    from flows.refresh import refresh

    before = set(ledger_of(published).read("outputs")["key"].to_pylist())
    task = stored_tasks(published.task_folder)[0]
    store_task(published.task_folder, replace(task, template="Question: {input}\nAnswer:"))

    refresh(published.reference)

    made = [row for row in ledger_of(published).read("outputs").to_pylist() if row["key"] not in before]
    assert {row["task"] for row in made} == {task.name}


def test_the_snapshot_says_how_far_a_score_is_above_every_control(published: Home) -> None:
    snapshot = current_snapshot(published.snapshots)

    best = {row["task"]: row for row in snapshot.read("best")}
    tasks = {row["task"]: row for row in snapshot.read("tasks")}
    assert best.keys() == tasks.keys() == {"animals", "colours", "compass"}
    for name, row in best.items():
        assert row["score"] - row["base_score"] == pytest.approx(row["lift"])
        assert row["score"] - row["majority_score"] == pytest.approx(row["lift_over_majority"])
        assert row["score"] - row["shuffled_score"] == pytest.approx(row["lift_over_shuffled"])
        assert row["majority_score"] == tasks[name]["majority_score"]
    scores = snapshot.read("scores")
    assert {(row["task"], row["adapter"]) for row in scores if row["chosen"]} == {
        (row["task"], row["adapter"]) for row in best.values()
    }
    assert {row["lift"] for row in scores if row["adapter"] == ""} == {0.0}


def test_whoever_watches_prefect_sees_rungs_and_winners(home: Home) -> None:
    from prefect.client.orchestration import get_client

    from flows.refresh import refresh

    refresh(home.reference)

    with get_client(sync_client=True) as client:
        shown = {artifact.key: artifact for artifact in client.read_latest_artifacts()}
    best = json.loads(str(shown["score-best"].data))
    rungs = json.loads(str(shown["score-rungs"].data))
    assert {row["task"]: row["adapter"].partition("@")[0] for row in best} == {
        "animals": "bob/animals",
        "colours": "ann/colours",
        "compass": "cleo/compass",
    }
    assert [row["rung"] for row in rungs] == list(range(1, len(rungs) + 1))
    assert shown["score-progress"].data == 100.0
    page = home.root / "reports" / f"{current_snapshot(home.snapshots).id}.html"
    assert page.as_uri() in str(shown["catalog-page"].data) and page.read_text().startswith("<!doctype html>")


def test_the_ledger_holds_raw_text_with_all_that_decided_it(published: Home) -> None:
    rows = ledger_of(published).read("outputs").to_pylist()
    assert {(r["base"], r["dtype"], r["engine"], r["decoding"]) for r in rows} == {
        (BASE, "float32", ENGINE_VERSION, "greedy")
    }
    assert len({r["key"] for r in rows}) == len(rows)
    assert all(r["prompt"].endswith("\nAnswer:") for r in rows)


def test_answers_are_scored_rows_that_any_duckdb_reads(published: Home, tmp_path: Path, tiny_tasks: Path) -> None:
    from flows.answer_batch import answer_batch

    snapshot = current_snapshot(published.snapshots).id
    queries, out = tmp_path / "queries.jsonl", tmp_path / "answers.parquet"
    rows = [
        {"input": e.input, "task": t.name, "target": e.target, "metric": t.metric, "max_new_tokens": 3}
        for t in read_tasks(tiny_tasks)
        for e in t.test
    ]
    queries.write_text("".join(json.dumps(row) + "\n" for row in rows))

    outcome = answer_batch(
        str(queries), str(out), ["oracle", "lorauter", "base", "majority"], settings=published.reference
    )

    new = outcome["new"]
    assert outcome == {"answers": 4 * len(rows), "new": new, "failed": 0, "snapshot": snapshot, "out": str(out)}
    quality = dict(duckdb.sql(f"SELECT router, avg(score) FROM '{out}' GROUP BY 1").fetchall())
    assert quality["oracle"] == 1.0
    assert quality["base"] < 1.0
    routed = [row for row in pq.read_table(out).to_pylist() if row["router"] == "lorauter"]
    assert [row["tasks"][0]["task"] for row in routed] == [row["task"] for row in rows]


def test_a_task_that_no_adapter_improves_publishes_the_base_and_routing_honours_it(
    home: Home, tiny_hub_folder: Path
) -> None:
    from flows.refresh import refresh
    from lorauter.engine.engine import Engine

    task = stored_tasks(home.task_folder)[0]
    engine = Engine(tiny_hub_folder / BASE, dtype="float32")
    texts = engine.generate([task.prompt(e.input) for e in task.validation], [()] * len(task.validation), 3)
    known = tuple(Example(e.input, text) for e, text in zip(task.validation, texts, strict=True))
    store_task(home.task_folder, replace(task, validation=known, test=()))

    snapshot = open_snapshot(Path(refresh(home.reference)["folder"]))

    best = next(row for row in snapshot.read("best") if row["task"] == task.name)
    assert (best["adapter"], best["score"], best["lift"]) == ("", 1.0, 0.0)
    route = open_router(home, snapshot, "lorauter").route([task.validation[0].input])[0]
    assert route.tasks[0].task == task.name
    assert sum(weight for _, weight in route.mixture) == pytest.approx(1 - route.tasks[0].weight)


def test_a_router_is_fitted_on_the_inputs_that_refresh_published(published: Home) -> None:
    snapshot = current_snapshot(published.snapshots)
    tasks = stored_tasks(published.task_folder)

    routes = open_router(published, snapshot, "discriminant").route([task.test[0].input for task in tasks])

    assert [route.tasks[0].task for route in routes] == [task.name for task in tasks]
    published = [(row["task"], row["input"], row["target"]) for row in snapshot.read("inputs")]
    assert published == [(task.name, e.input, e.target) for task in tasks for e in task.validation]


def test_an_encoders_prompt_is_published_and_put_before_queries_too(published: Home) -> None:
    from flows.refresh import refresh

    plain = current_snapshot(published.snapshots)
    prompt = "Represent the question: "

    snapshot = open_snapshot(Path(refresh({**published.reference, "encoder_prompt": prompt})["folder"]))

    router = open_router(published, snapshot, "lorauter")
    encoder = open_encoder(published, snapshot.read("tasks")[0]["encoder_sha"])
    first = snapshot.read("inputs")[0]
    assert {row["encoder_prompt"] for row in snapshot.read("tasks")} == {prompt}
    assert {row["encoder_prompt"] for row in plain.read("tasks")} == {""}
    assert first["embedding"] == pytest.approx(encoder.encode([prompt + first["input"]])[0].tolist(), abs=1e-5)
    assert router.route([first["input"]])[0].tasks[0].task == first["task"]


def test_two_bases_live_side_by_side(published: Home) -> None:
    from flows.refresh import refresh

    alone = current_snapshot(published.snapshots)
    both = refresh({**published.reference, "base": "tiny/other"})

    together = open_snapshot(Path(both["folder"]))
    for table in ("tasks", "inputs", "best", "rungs", "adapters"):
        assert [row for row in together.read(table) if row["base"] == BASE] == alone.read(table)
    other = load_index(together, "tiny/other")
    assert (other.base, other.tasks) == ("tiny/other", ("animals", "colours", "compass"))
    with pytest.raises(SettingError, match="several bases"):
        lorauter.load(both["folder"])


def test_a_refresh_killed_in_every_stage_ends_with_the_same_snapshot(
    home: Home, tmp_path: Path, refreshed: Path, prefect_url: str
) -> None:
    """One after the other, each killed as soon as it has brought what is told here."""
    root = tmp_path / "killed"
    shutil.copytree(home.task_folder, root / "tasks")
    where = ["--home", str(root), "refresh", "--base", BASE, "--endpoint", home.settings.endpoint]
    environment = {"LORAUTER_SHARD_ROWS": "8", "PREFECT_API_URL": prefect_url}
    moments = {
        "ledger/repos/**/*.parquet": 1,
        "ledger/verdicts/**/*.parquet": 1,
        "ledger/outputs/**/*.parquet": 1,
        "ledger/outputs/**/*.parquet ": 6,
        "snapshots/*/best.parquet": 1,
        "snapshots/*/manifest.json": 1,
    }

    killed = [
        kill_when(start_command(where, **environment), lambda: len([*root.glob(brought.strip())]) >= count)  # noqa: B023  (called at once)
        for brought, count in moments.items()
    ]
    last = start_command(where, **environment)

    assert (killed, ended(last)) == ([True] * len(moments), 0)
    assert current_snapshot(root / "snapshots").id == current_snapshot(refreshed / "snapshots").id


def test_an_interrupted_refresh_leaves_at_once_and_says_that_it_can_go_on(home: Home) -> None:
    run = _refresh_process(home)
    assert run.stderr is not None
    while b"crawl" not in run.stderr.readline():  # the flow runs
        assert run.poll() is None

    run.send_signal(signal.SIGINT)

    assert run.wait(10) == 130
    assert b"Interrupted. What was finished is kept; run the same command to go on." in run.stderr.read()


def _refresh_process(home: Home) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "LORAUTER_SHARD_ROWS": "8", "PREFECT_HOME": str(home.root / "prefect")}
    where = ["--home", str(home.root), "refresh", "--base", BASE, "--endpoint", home.settings.endpoint]
    return subprocess.Popen(
        [sys.executable, "-m", "flows.cli", *where],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
