"""`mhr` in the product: fitted, published, and its adapters made where a query needs one, with no hub's help."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path

from flows import stages
from flows.answer.route_texts import RouteOptions
from flows.answer_batch import answer_batch
from flows.home.home import Home
from flows.home.parts import adapter_folder, engine_here
from lorauter.routing.routes import Route
from lorauter.trained.task_adapters import read_task_key
from tests.flows.answer.batches import BASE, queries_of, rows_of, settings_of
from warehouse.snapshots.snapshot import current_snapshot


def test_a_query_is_answered_by_the_adapter_that_skills_make_for_its_task(published: Home, tmp_path: Path) -> None:
    queries, out = queries_of(published, tmp_path / "q.jsonl"), tmp_path / "a.parquet"
    fitted = stages.fit(published, ["mhr"])
    again = stages.fit(published, ["mhr"])

    done = answer_batch.fn(str(queries), str(out), ["mhr"], settings=settings_of(published))

    rows = rows_of(out)
    keys = [row["adapters"][0]["adapter"] for row in rows]
    asked = [json.loads(line) for line in queries.read_text().splitlines()]
    made = [read_task_key(key) for key in keys]
    assert (done["failed"], {row["error"] for row in rows}) == (0, {None})
    assert [one.path for one in made if one] == [query["task"] for query in asked]
    assert fitted.snapshot.id == again.snapshot.id == current_snapshot(published.snapshots).id
    engine = engine_here(published, BASE, current_snapshot(published.snapshots).read("tasks")[0]["base_sha"])
    prompts = [f"{query['input']}\nAnswer:" for query in asked]
    served = engine.answer(prompts, [Route(((key, 1.0),)) for key in keys], 3)
    assert [row["text"] for row in rows] == served
    assert served != engine.answer(prompts, [Route(())] * len(prompts), 3)
    assert all((adapter_folder(published, key) / "README.md").exists() for key in keys)


def test_a_route_is_explained_without_a_page_of_the_hub(published: Home) -> None:
    stages.fit(published, ["mhr"])
    told = StringIO()

    stages.route(published, ["Which pet barks?"], RouteOptions("mhr", explain=True, form="json"), told)

    (found,) = map(json.loads, told.getvalue().splitlines())
    (adapter,), (task,) = found["adapters"], found["tasks"]
    assert (task["task"], task["used"], adapter["tasks"]) == ("animals", adapter["adapter"], ["animals"])
    assert task["used_because"] == "made of what its router has learned"
    assert (adapter["page"], adapter["author"], found["base_weight"]) == (None, None, 0.0)
