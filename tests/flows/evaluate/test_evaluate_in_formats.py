"""A test item is asked in the format of its route: that in which the leading adapter, or the base, was scored."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from catalog.tasks.task import Example
from flows.answer.options import AnswerOptions
from flows.evaluate.evaluate import EvaluateOptions, Evaluation, Item
from flows.evaluate.figures import report_of, store
from flows.home.home import Home, open_home
from flows.home.parts import ledger_of, snapshot_of
from flows.mirror.server import serve_in_thread
from flows.stages import answer, evaluate
from lorauter.engine.decoding import read_spelled
from tests.flows.answer.batches import BASE, queries_of
from warehouse.schemas.snapshot import SNAPSHOT
from warehouse.snapshots.snapshot import publish
from warehouse.tasks.folder import store_task, stored_tasks

CHATTY, CHAT, TURN_END = "chatty 12345678", "<user>{input}</><me>", "</>"
ODD = "chat template of tiny/llama 87654321"
ANN, BOB = "ann/colours@", "bob/animals@"
ALL = ("oracle", "lorauter", "uniform", "base")


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory, refreshed: Path, tiny_hub_folder: Path) -> Iterator[Home]:
    """A home with a published snapshot that knows of no formats."""
    root = shutil.copytree(refreshed, tmp_path_factory.mktemp("home") / "home", symlinks=True)
    with serve_in_thread(tiny_hub_folder) as hub:
        yield open_home(home=root, endpoint=hub.endpoint, base=BASE)


@pytest.fixture
def home(plain: Home, tmp_path: Path) -> Home:
    """One whose adapter of colours was scored in a format of its own, that of animals in alpaca, and whose base was in
    its own chat template on compass."""
    root = shutil.copytree(plain.root, tmp_path / "home", symlinks=True)
    home = open_home(**{**plain.reference, "home": root})
    now = snapshot_of(home)
    tables: dict[str, Any] = {name: now.read(name) for name in SNAPSHOT}
    for row in tables["best"]:
        if row["adapter"].startswith(ANN):
            row |= {"format": CHATTY, "template": CHAT, "stops": [TURN_END]}
    for row in tables["scores"]:
        if row["adapter"].startswith(ANN):
            row["format"] = CHATTY
        elif row["adapter"].startswith(BOB):
            row["format"] = "alpaca"
        elif (row["task"], row["adapter"]) == ("compass", ""):
            row["format"] = ODD
    told = {name: tables["best"][0][name] for name in ("base", "base_sha")}
    tables["templates"] = [{**told, "format": ODD, "template": "[{input}] ", "stops": []}]
    publish(home.snapshots, tables, now.context)
    return home


def run(home: Home, *routers: str, **options: Any) -> tuple[Evaluation, list[dict[str, Any]]]:
    """An evaluation, and the outputs that it made."""
    before = {row["key"] for row in ledger_of(home).read("outputs").to_pylist()}
    evaluation = evaluate(home, EvaluateOptions(routers=routers, **options))
    return evaluation, [row for row in ledger_of(home).read("outputs").to_pylist() if row["key"] not in before]


def format_by_hand(item: Item) -> str | None:
    """What the item must be asked in, from its weights alone; of like weights the first key leads."""
    if not item.mixture:
        return ODD if item.task == "compass" else None
    leader = min(item.mixture, key=lambda pair: (-pair[1], pair[0]))[0]
    return CHATTY if leader.startswith(ANN) else "alpaca" if leader.startswith(BOB) else None


def test_an_item_is_asked_in_the_format_of_its_leader_in_every_setting(home: Home) -> None:
    evaluation, _ = run(home, *ALL, items=3)

    asked = [(system, item) for system, items in evaluation.items.items() for item in items]
    assert [item.format for _, item in asked] == [format_by_hand(item) for _, item in asked]
    oracle = {item.task: item.format for system, item in asked if system.router == "oracle"}
    assert oracle == {"animals": "alpaca", "colours": CHATTY, "compass": None}
    left = {(s.setting, i.task): i.format for s, i in asked if s.router == "lorauter"}
    assert left["non-ood", "colours"] == CHATTY
    assert CHATTY not in {left["semi-ood", "colours"], left["ood", "colours"]}
    base = {item.task: item.format for system, item in asked if system.router == "base"}
    assert base == {"animals": None, "colours": None, "compass": ODD}


def test_prompts_and_stops_are_the_formats(home: Home) -> None:
    inputs = {task.name: {e.id: e.input for e in task.test} for task in stored_tasks(home.task_folder)}

    _, outputs = run(home, "oracle", settings=("non-ood",))

    asked = {(row["task"], row["example"]): (row["prompt"], read_spelled(row["decoding"])[1]) for row in outputs}
    colours = {
        (task, id_): (CHAT.replace("{input}", text), ("\n", TURN_END))
        for task, texts in inputs.items()
        for id_, text in texts.items()
        if task == "colours"
    }
    assert colours.items() <= asked.items()
    assert {stops for (task, _), (_, stops) in asked.items() if task == "compass"} <= {("\n",)}


def test_what_answer_said_evaluate_need_not_make(home: Home, tmp_path: Path) -> None:
    queries = queries_of(home, tmp_path / "q.jsonl")
    answer(home, queries, tmp_path / "a.parquet", AnswerOptions(routers=("uniform", "base")))

    _, outputs = run(home, "uniform", "base", settings=("non-ood",))

    assert {row["adapters"][0].partition("@")[0] for row in outputs} <= {"ann/colours", "bob/animals", "cleo/compass"}
    assert {len(row["adapters"]) for row in outputs} <= {1}  # the ceiling's: what the oracle says nobody has answered


def test_a_snapshot_without_formats_is_asked_as_ever(plain: Home) -> None:
    templates = {task.name: task.template for task in stored_tasks(plain.task_folder)}
    inputs = {(task.name, e.id): e.input for task in stored_tasks(plain.task_folder) for e in task.test}

    evaluation, outputs = run(plain, *ALL, settings=("semi-ood",))

    assert {item.format for items in evaluation.items.values() for item in items} == {None}
    assert [(row["prompt"], row["decoding"]) for row in outputs] == [
        (templates[row["task"]].replace("{input}", inputs[row["task"], row["example"]]), "greedy") for row in outputs
    ]
    assert outputs


def test_nothing_ends_options_that_are_weighed_in_a_format(home: Home) -> None:
    stored = next(task for task in stored_tasks(home.task_folder) if task.name == "colours")
    choices = (Example("Which colour is a rose?", "red", ("red", "blue")),) * 2
    store_task(home.task_folder, replace(stored, metric="option_loglikelihood", validation=choices, test=choices[:1]))

    _, outputs = run(home, "oracle", tasks=("colours",), settings=("non-ood",))

    assert [(row["prompt"], row["options"], row["decoding"]) for row in outputs] == [
        ("<user>Which colour is a rose?</><me>", ["red", "blue"], "greedy")
    ]


def test_raw_outcomes_name_the_format(home: Home, tmp_path: Path) -> None:
    evaluation, _ = run(home, "oracle", settings=("non-ood",), items=1)

    store(evaluation, report_of(evaluation), tmp_path)

    rows = pq.read_table(tmp_path / "items.parquet").to_pylist()
    assert {row["task"]: row["format"] for row in rows} == {"animals": "alpaca", "colours": CHATTY, "compass": None}
