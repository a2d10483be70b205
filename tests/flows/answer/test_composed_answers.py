"""A batch by compositions, gates, and routers that ask the base: served its own way, or refused by name.

Flows are called without Prefect (`.fn`), which would take a second each; test_answer_batch has them whole.
"""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

import lorauter
from catalog.adapters.adapter import AdapterId
from catalog.errors import SettingError
from flows import stages
from flows.answer.route_texts import RouteOptions
from flows.answer_batch import answer_batch
from flows.home.home import Home
from flows.home.parts import engine_here, ledger_of, model_folder
from tests.flows.answer.batches import BASE, queries_of, rows_of, settings_of
from warehouse.snapshots.snapshot import current_snapshot
from warehouse.tasks.folder import stored_tasks


def test_a_composition_serves_the_route_its_own_way_and_the_row_says_which(published: Home, tmp_path: Path) -> None:
    queries = queries_of(published, tmp_path / "q.jsonl")

    texts = {}
    for name in ("mixture", "cat", "selection"):
        out = tmp_path / f"{name}.parquet"
        answer_batch.fn(str(queries), str(out), compose=name, settings=settings_of(published))
        rows = rows_of(out)
        texts[name] = [row["text"] for row in rows]
        assert {(json.loads(row["composition"] or '["mixture"]')[0], row["error"]) for row in rows} == {(name, None)}

    assert texts["cat"] == texts["mixture"]
    kept = {row["composition"] for row in ledger_of(published).read("outputs", ["composition"]).to_pylist()}
    assert len(kept) == 3


def test_routes_that_a_composition_refuses_carry_the_reason(published: Home, tmp_path: Path) -> None:
    queries, out = queries_of(published, tmp_path / "q.jsonl"), tmp_path / "a.parquet"

    answer_batch.fn(str(queries), str(out), compose="ties", settings=settings_of(published))

    refused = [row["error"] for row in rows_of(out) if row["error"]]
    assert refused
    assert all("rank" in error for error in refused)


def test_an_unknown_composition_is_told_before_anything_runs(published: Home, tmp_path: Path) -> None:
    queries, out = queries_of(published, tmp_path / "q.jsonl"), tmp_path / "a.parquet"

    with pytest.raises(SettingError, match="no composition 'blend'"):
        answer_batch.fn(str(queries), str(out), compose="blend", settings=settings_of(published))


def test_a_gates_answers_are_stored_and_are_those_of_the_gate_itself(published: Home, tmp_path: Path) -> None:
    from lorauter.gates.protocol import GatedRoute
    from lorauter.gates.singular_rows import singular_rows_of
    from lorauter.gates.spectr import SpectrGate

    queries, out = queries_of(published, tmp_path / "q.jsonl"), tmp_path / "a.parquet"
    settings = settings_of(published)

    first = answer_batch.fn(str(queries), str(out), ["spectr"], settings=settings)
    rows = rows_of(out)
    out.unlink()
    again = answer_batch.fn(str(queries), str(out), ["spectr"], settings=settings)

    assert (first["new"], again["new"], first["failed"]) == (len(rows), 0, 0)
    assert [row["text"] for row in rows_of(out)] == [row["text"] for row in rows]
    verdicts = current_snapshot(published.snapshots).read("adapters")
    pool = sorted(row["adapter"] for row in verdicts if row["admitted"] and not row["dora"])
    assert {row["composition"] for row in rows} == {'["gate:spectr", {}]'}
    assert all(row["adapters"] == [{"adapter": key, "weight": None} for key in pool] for row in rows)
    engine = engine_here(published, BASE, verdicts[0]["base_sha"])
    gate = GatedRoute(SpectrGate(pool, singular_rows_of(engine.weights_of)))
    templates = {task.name: task.template for task in stored_tasks(published.task_folder)}
    prompts = [templates[row["task"]].replace("{input}", row["input"]) for row in rows]
    assert [row["text"] for row in rows] == engine.answer(prompts, [gate] * len(rows), 3)


def test_a_gates_candidates_are_those_that_can_still_be_had(published: Home, hub_folder: Path, tmp_path: Path) -> None:
    queries, out = queries_of(published, tmp_path / "q.jsonl"), tmp_path / "a.parquet"
    lost = next(r["adapter"] for r in current_snapshot(published.snapshots).read("best") if r["adapter"])
    repo = AdapterId.parse(lost).repo
    folders = [hub_folder / repo, *(published.root / "hub").glob("models--" + repo.replace("/", "--"))]
    for number, folder in enumerate(folders):
        folder.rename(tmp_path / f"away-{number}")

    try:
        answer_batch.fn(str(queries), str(out), ["arrow", "logo"], settings=settings_of(published))
    finally:
        for number, folder in enumerate(folders):
            (tmp_path / f"away-{number}").rename(folder)

    used = {row["router"]: {a["adapter"] for a in row["adapters"]} for row in rows_of(out)}
    assert used["arrow"] and used["logo"] and lost not in used["arrow"] | used["logo"]
    assert not [row for row in rows_of(out) if row["error"]]


def test_a_gate_is_not_composed(published: Home, tmp_path: Path) -> None:
    queries, out = queries_of(published, tmp_path / "q.jsonl"), tmp_path / "a.parquet"

    with pytest.raises(SettingError, match="'lag' weighs adapters token by token and cannot be composed"):
        answer_batch.fn(str(queries), str(out), ["lorauter", "lag"], compose="cat", settings=settings_of(published))
    assert not out.exists()


@pytest.mark.parametrize("router", ["logo", "lorahub"])
def test_a_router_that_asks_the_base_is_loaded_with_an_engine(published: Home, tmp_path: Path, router: str) -> None:
    snapshot, task = current_snapshot(published.snapshots), stored_tasks(published.task_folder)[0]
    engine = engine_here(published, BASE, snapshot.read("tasks")[0]["base_sha"])
    query, made = task.test[0].input, []

    def loaded() -> Any:
        made.append(router)
        return engine

    opened = lorauter.load(
        snapshot.folder,
        router=router,
        encoder=lambda wanted: model_folder(published, wanted.id, wanted.sha),
        engine=loaded,
        prompt_of=task.prompt,
    )
    assert made == []
    route = opened.route([query])[0]

    path, out = tmp_path / "q.jsonl", tmp_path / "a.parquet"
    path.write_text(json.dumps({"id": "1", "input": query, "task": task.name}))
    answer_batch.fn(str(path), str(out), [router], settings=settings_of(published))
    assert made == [router]
    assert [(a["adapter"], a["weight"]) for a in rows_of(out)[0]["adapters"]] == list(route.mixture)


def test_a_gates_route_is_told_by_its_candidates(published: Home) -> None:
    verdicts = current_snapshot(published.snapshots).read("adapters")

    told = StringIO()
    stages.route(published, ["Which pet barks?"], RouteOptions("lag"), told)

    admitted = sorted(row["adapter"] for row in verdicts if row["admitted"])
    assert told.getvalue().splitlines() == [f"token\t{key}" for key in admitted]
