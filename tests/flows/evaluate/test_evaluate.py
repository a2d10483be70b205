"""`lorauter evaluate` on a tiny published home: figures, settings, the cache, refusals; all real."""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from catalog.errors import SettingError, TaskError
from catalog.tasks.task import Example, Task
from flows.cli.main import cli
from flows.evaluate.evaluate import EvaluateOptions, Evaluation, tasks_with_items
from flows.evaluate.figures import report_of, store
from flows.home.home import Home, open_home
from flows.stages import evaluate
from warehouse.schemas.answers import EVALUATION_ITEMS
from warehouse.snapshots.snapshot import current_snapshot
from warehouse.tasks.folder import store_task, stored_tasks

BASE = "tiny/llama"


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory, refreshed: Path) -> Home:
    """A home with a published snapshot. Its hub is gone: nothing here may ask it."""
    root = shutil.copytree(refreshed, tmp_path_factory.mktemp("home") / "home", symlinks=True)
    home = open_home(home=root, endpoint="http://127.0.0.1:9", base=BASE)
    for task in stored_tasks(home.task_folder):
        store_task(home.task_folder, replace(task, domain="sights" if task.name != "compass" else None))
    return home


def run(home: Home, *routers: str, **options: Any) -> Evaluation:
    return evaluate(home, EvaluateOptions(routers=routers, **options))


def new(found: Evaluation) -> int:
    return sum(cost.new for cost in found.costs.values())


def lines(report: dict[str, Any]) -> dict[tuple[str, ...], dict[str, Any]]:
    return {(line["setting"], line["router"], line["composition"]): line for line in report["systems"]}


def test_the_command_prints_and_stores_the_figures(published: Home, tmp_path: Path) -> None:
    command = ["--home", str(published.root), "evaluate", "--items", "3", "--out", str(tmp_path / "out")]
    outcome = CliRunner(env=environment(published)).invoke(cli, [*command, "--routers", "lorauter,base"])

    report = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert outcome.exit_code == 0, outcome.output
    assert "Share of the oracle's score, %" in outcome.stdout and "100.0 [100.0, 100.0]" in outcome.stdout
    assert {name: task["n"] for name, task in report["tasks"].items()} == {"animals": 3, "colours": 3, "compass": 3}
    assert (report["domains"], report["without_share"]) == (["sights", "compass"], [])
    settings = ("non-ood", "semi-ood", "ood")
    systems = [(s, name, "mixture") for s in settings for name in ("oracle", "lorauter", "base")]
    assert list(lines(report)) == [system for system in systems if system[:2] not in OUT_OF_REACH]
    oracle = lines(report)["non-ood", "oracle", "mixture"]
    assert oracle["average"] == oracle["share"] == {"value": 1.0, "low": 1.0, "high": 1.0}  # targets are its own texts
    assert oracle["domains"] == {"sights": {"score": 1.0, "share": 1.0}, "compass": {"score": 1.0, "share": 1.0}}
    items = pq.read_table(tmp_path / "out" / "items.parquet")
    assert items.schema.equals(EVALUATION_ITEMS) and items.num_rows == 7 * 9
    assert "lorauter + mixture" in (tmp_path / "out" / "evaluation.svg").read_text()


OUT_OF_REACH = {("semi-ood", "oracle"), ("ood", "oracle")}


def environment(home: Home) -> dict[str, str]:
    return {"LORAUTER_BASE": BASE, "LORAUTER_ENDPOINT": home.settings.endpoint}


def test_figures_alone_go_to_stdout(published: Home, tmp_path: Path) -> None:
    command = ["--home", str(published.root), "evaluate", "--items", "1", "--settings", "non-ood", "--json", "-"]
    outcome = CliRunner(env=environment(published)).invoke(cli, [*command, "--routers", "base", "--tasks", "colours"])

    report = json.loads(outcome.stdout)
    stored = published.root / "evaluations" / report["name"] / "evaluation.json"
    assert stored.read_text() == outcome.stdout
    assert list(report["tasks"]) == ["colours"]


def test_without_matplotlib_all_but_the_plot_is_stored(
    published: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    found = run(published, "base", items=1, settings=("non-ood",))

    store(found, report_of(found), tmp_path)

    assert {path.name for path in tmp_path.iterdir()} == {"evaluation.json", "items.parquet"}
    assert "pip install 'lorauter[bench]'" in capfd.readouterr().err


def test_a_second_run_makes_no_answer_and_a_further_router_only_its_own(published: Home) -> None:
    first = run(published, "lorauter", "base", items=2, settings=("semi-ood",))

    again = run(published, "lorauter", "base", items=2, settings=("semi-ood",))
    more = run(published, "lorauter", "uniform", "base", items=2, settings=("semi-ood",))

    assert (new(again), again.name) == (0, first.name)
    assert again.items == first.items
    by_router = {system.router: cost.new for system, cost in more.costs.items()}
    assert by_router == {"oracle": 0, "lorauter": 0, "uniform": 6, "base": 0}
    assert {cost.answer_seconds for system, cost in more.costs.items() if system.router != "uniform"} == {None}


def test_the_settings_take_away_the_tasks_adapters_and_then_the_task(published: Home) -> None:
    found = run(published, "lorauter", "uniform", items=2)

    own = {row["task"]: row["adapter"] for row in current_snapshot(published.snapshots).read("best")}
    routed = {
        (system.setting, item.task): (own[item.task] in dict(item.mixture), item.task in item.tasks)
        for system, items in found.items.items()
        if system.router == "lorauter"
        for item in items
    }
    reached = {system.setting for system, items in found.items.items() for i in items if own[i.task] in dict(i.mixture)}
    seen = {setting: {value for (one, _), value in routed.items() if one == setting} for setting, _ in routed}
    assert seen == {"non-ood": {(True, True)}, "semi-ood": {(False, True)}, "ood": {(False, False)}}
    assert reached == {"non-ood"}


def test_a_gates_candidates_are_stored_without_weights(published: Home, tmp_path: Path) -> None:
    options = ["--routers", "spectr", "--settings", "non-ood", "--items", "1", "--out", str(tmp_path)]

    CliRunner(env=environment(published)).invoke(cli, ["--home", str(published.root), "evaluate", *options])

    rows = pq.read_table(tmp_path / "items.parquet").to_pylist()
    weights = {(row["router"], adapter["weight"]) for row in rows for adapter in row["adapters"]}
    assert weights == {("spectr", None), ("oracle", 1.0)}


def test_what_a_composition_refuses_scores_nothing_and_is_told(published: Home) -> None:
    found = run(published, "lorauter", compositions=("mixture", "ties"), settings=("non-ood",), items=2)

    by_composition = {line.composition: line for line in report_of(found).systems if line.router == "lorauter"}
    ties, mixture = by_composition["ties"], by_composition["mixture"]
    refused = [item for system, items in found.items.items() if system.composition == "ties" for item in items]
    assert (ties.refused, ties.average.value) == (1.0, 0.0)
    assert {item.score for item in refused} == {0.0}
    assert "rank" in ties.refusals[0]
    assert (ties.difference and ties.difference.value) == -mixture.average.value


def test_compositions_that_come_to_the_same_share_answers(published: Home) -> None:
    run(published, "random", items=2, settings=("non-ood",))
    found = run(published, "lorauter", items=2, settings=("non-ood",), compositions=("selection",))

    assert {item.mixture[0][1] for items in found.items.values() for item in items} == {1.0}
    assert new(found) == 0  # the heaviest adapter is the task's own: the oracle has answered already


def test_options_are_weighed_where_the_metric_wants_that(published: Home, tmp_path: Path) -> None:
    home = published
    stored = next(task for task in stored_tasks(home.task_folder) if task.name == "animals")
    choices = (Example("Which pet barks?", "dog", ("cat", "dog")), Example("Which pet purrs?", "cat", ("cat", "dog")))
    store_task(home.task_folder, replace(stored, metric="option_loglikelihood", validation=choices, test=choices))
    try:
        found = run(home, "base", tasks=("animals",), settings=("non-ood",))
    finally:
        store_task(home.task_folder, stored)

    assert {type(item.answer).__name__ for items in found.items.values() for item in items} == {"OptionLogprobs"}


def test_tasks_without_test_examples_are_named() -> None:
    whole = Task("whole", "exact_match", (), (Example("q", "a"),) * 3)
    bare = Task("bare", "exact_match", ())

    assert tasks_with_items([whole, bare], ["bare", "whole"], (), 2) == [replace(whole, test=whole.test[:2])]
    with pytest.raises(TaskError, match="No test examples: bare"):
        tasks_with_items([whole, bare], ["bare", "whole"], ("bare",), None)
    with pytest.raises(SettingError, match=r"no task 'other'\. Choose from: bare, whole"):
        tasks_with_items([whole, bare], ["bare", "whole"], ("other",), None)
