"""A row is asked in the format of its route: that in which the leading adapter was scored."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from flows.answer.export import ExportOptions
from flows.answer_batch import answer_batch
from flows.home.home import Home, open_home
from flows.home.parts import ledger_of, snapshot_of
from flows.stages import export
from lorauter.engine.decoding import read_spelled
from tests.flows.answer.batches import queries_of, rows_of, settings_of
from warehouse.schemas.snapshot import SNAPSHOT
from warehouse.snapshots.snapshot import publish

CHAT, ODD, STOPS = "<user>{input}</><me>", "[{input}] ", ("]", "b", "c", "d", "e")
OF_NOBODY_PUBLISHED = {"not_authors": ["ann", "bob", "cleo"]}


@pytest.fixture(scope="module")
def in_formats(published: Home) -> Home:
    """A home whose adapter for colours was scored in a format of its own, and one that is not published in another."""
    now = snapshot_of(published)
    tables: dict[str, Any] = {name: now.read(name) for name in SNAPSHOT}
    key = next(row["adapter"] for row in tables["best"] if row["task"] == "colours")
    for row in tables["best"]:
        if row["adapter"] == key:
            row |= {"format": "chatty 12345678", "template": CHAT, "stops": ["</>"]}
    for row in tables["scores"]:
        if row["adapter"] == key:
            row["format"] = "chatty 12345678"
        if row["adapter"].startswith("wild/"):
            row["format"] = "own 87654321"
    told = {"base": now.read("best")[0]["base"], "base_sha": now.read("best")[0]["base_sha"]}
    tables["templates"] = [{**told, "format": "own 87654321", "template": ODD, "stops": [*STOPS]}]
    publish(published.snapshots, tables, now.context)
    return published


def _new_outputs(
    home: Home, tmp_path: Path, routing: dict[str, Any] | None = None, **options: Any
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The rows of a batch, and the outputs that it made."""
    queries, out = queries_of(home, tmp_path / "q.jsonl"), tmp_path / "a.parquet"
    before = {row["key"] for row in ledger_of(home).read("outputs").to_pylist()}
    answer_batch(str(queries), str(out), settings={**settings_of(home), "routing": routing or {}}, **options)
    return rows_of(out), [row for row in ledger_of(home).read("outputs").to_pylist() if row["key"] not in before]


def test_the_leading_adapters_format_is_the_rows(in_formats: Home, tmp_path: Path) -> None:
    rows, outputs = _new_outputs(in_formats, tmp_path)

    leaders = {row["id"]: max(row["adapters"], key=lambda used: used["weight"])["adapter"] for row in rows}
    led = {id_ for id_, leader in leaders.items() if leader.startswith("ann/colours@")}
    assert 0 < len(led) < len(rows)
    asked = {row["example"]: (row["prompt"].startswith("<user>"), row["decoding"] == "greedy") for row in outputs}
    assert asked == {id_: (id_ in led, id_ not in led) for id_ in leaders}
    stops = {row["id"]: read_spelled(row["decoding"])[1] for row in rows}
    assert stops == {id_: ("\n", "</>") if id_ in led else ("\n",) for id_ in leaders}


def test_an_adapter_that_no_task_publishes_is_asked_in_its_own_format_too(in_formats: Home, tmp_path: Path) -> None:
    rows, outputs = _new_outputs(in_formats, tmp_path, OF_NOBODY_PUBLISHED)

    leaders = {row["id"]: row["adapters"][0]["adapter"] for row in rows if row["adapters"]}
    assert leaders
    assert {leader.partition(":")[0] for leader in leaders.values()} == {"wild/checkpoints"}
    asked = {row["example"]: (row["prompt"][0], read_spelled(row["decoding"])[1]) for row in outputs}
    assert {id_: asked[id_] for id_ in leaders} == dict.fromkeys(leaders, ("[", ("\n", *STOPS)))


def test_a_template_that_a_person_asks_for_outweighs_it(in_formats: Home, tmp_path: Path) -> None:
    rows, outputs = _new_outputs(in_formats, tmp_path, template="{input} =")

    assert len(outputs) == len(rows)
    assert all(row["prompt"].endswith(" =") and row["decoding"] == "greedy" for row in outputs)


def test_stops_that_a_person_asks_for_outweigh_the_formats(in_formats: Home, tmp_path: Path) -> None:
    _, outputs = _new_outputs(in_formats, tmp_path, stop=["!"])

    assert {read_spelled(row["decoding"])[1] for row in outputs} == {("!",)}


def exported(home: Home, tmp_path: Path, engine: str = "vllm", **options: Any) -> dict[str, dict[str, Any]]:
    """The bodies of an export, by task: the first of each."""
    queries, out = queries_of(home, tmp_path / "q.jsonl"), tmp_path / "r.jsonl"
    export(home, queries, out, ExportOptions(engine, tmp_path / "adapters", **options))
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    return {line["custom_id"].partition("-")[0]: line["body"] for line in reversed(lines)}


def test_an_export_asks_in_the_same_format_and_ends_texts_as_it_does(in_formats: Home, tmp_path: Path) -> None:
    bodies = exported(in_formats, tmp_path)

    assert bodies["colours"]["prompt"].startswith("<user>")
    assert bodies["animals"]["prompt"].endswith("\nAnswer:")
    sent = {task: {name: body.get(name) for name in ("stop", "skip_special_tokens")} for task, body in bodies.items()}
    assert sent["colours"] == {"stop": ["</>"], "skip_special_tokens": False}
    assert sent["animals"] == {"stop": None, "skip_special_tokens": None}
    assert exported(in_formats, tmp_path, "lorax")["colours"]["parameters"]["stop"] == ["</>"]


@pytest.mark.parametrize(
    ("options", "stop"),
    [
        ({"stop": ("!",)}, ["!"]),
        ({"stop": ()}, None),
        ({"template": "{input} ="}, None),
        ({"template": "guanaco"}, ["### Human:"]),
    ],
)
def test_stops_that_a_person_gives_or_a_template_brings_outweigh_the_formats(
    in_formats: Home, tmp_path: Path, options: dict[str, Any], stop: list[str] | None
) -> None:
    bodies = exported(in_formats, tmp_path, **options)

    assert {task: body.get("stop") for task, body in bodies.items()} == dict.fromkeys(bodies, stop)
    assert not any("skip_special_tokens" in body for body in bodies.values())


def test_an_engine_that_takes_few_stops_gets_the_first_of_a_format_that_has_more(
    in_formats: Home, tmp_path: Path
) -> None:
    home = open_home(**{**settings_of(in_formats), "routing": OF_NOBODY_PUBLISHED})

    bodies = exported(home, tmp_path, "lorax"), exported(home, tmp_path, "vllm")

    assert (bodies[0]["colours"]["parameters"]["stop"], bodies[1]["colours"]["stop"]) == ([*STOPS[:4]], [*STOPS])
