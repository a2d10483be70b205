"""The formats pool and its study: what repos say and detection makes of it, columns, means, the published picks."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks.formats import BASE_CHAT, DETECTED, TASK, TRUE, Asked, Member, columns, lines, means, members
from benchmarks.formats_detection import RIGHT, SILENT, WRONG, believed, format_of_evidence, says_in, verdict
from benchmarks.formats_plan import COPIED, PLAN, WAYS, Trained, files_of
from benchmarks.formats_pool import keep_plan
from benchmarks.formats_race import Race, pick_of
from benchmarks.formats_scores import Cell
from catalog.errors import SettingError
from catalog.formats.format import PromptFormat, of_template
from catalog.formats.table import format_named
from catalog.tasks.task import Example, Task
from flows.demo.base import BASE_ID
from flows.demo.world import demo_tasks

BASE_TEMPLATE = "{{ messages[0]['content'] }}<|answer|>"
BASE_FORMAT = of_template("{input}<|answer|>", "base chat")


@pytest.fixture(scope="module")
def tasks() -> dict[str, Task]:
    return {task.name: task for task in demo_tasks(small=False)}


def said_by(folder: Path) -> PromptFormat | None:
    """The format that the files of a folder say."""
    says = says_in(folder, base_chat_template=BASE_TEMPLATE)
    evidence = believed(says)
    return format_of_evidence(evidence, says, BASE_FORMAT) if evidence else None


def write_repo(folder: Path, one: Trained, task: Task) -> Path:
    folder.mkdir()
    (folder / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": BASE_ID}))
    for name, text in files_of(one, task, BASE_TEMPLATE).items():
        (folder / name).write_text(text)
    return folder


def test_the_plan_holds_a_dozen_adapters_in_six_formats_that_no_task_has(tasks: dict[str, Task]) -> None:
    assert len({one.name for one in PLAN}) == len(PLAN) >= 12
    assert len({one.truth.template() for one in PLAN}) >= 6
    assert {one.way for one in PLAN} == set(WAYS)
    assert [one.name for one in PLAN if one.truth.template() == tasks[one.task].template] == []


def test_what_a_repo_says_is_right_but_for_the_copy_and_the_silent_ones(tmp_path: Path, tasks: dict[str, Task]) -> None:
    said = {one: said_by(write_repo(tmp_path / one.task, one, tasks[one.task])) for one in PLAN}

    verdicts = {one: verdict(said[one], one.truth) for one in PLAN}

    assert {one.task: (one.way, told) for one, told in verdicts.items() if told != RIGHT} == {
        "dish_review": (COPIED, WRONG),
        "parcel_recipient": ("nothing", SILENT),
        "day_after": ("nothing", SILENT),
    }


def test_a_repo_names_its_format_nowhere_else(tmp_path: Path, tasks: dict[str, Task]) -> None:
    silent = next(one for one in PLAN if one.way == "nothing")
    folder = write_repo(tmp_path / "it", silent, tasks[silent.task])

    assert sorted(path.name for path in folder.iterdir()) == ["README.md", "adapter_config.json"]
    assert silent.format not in (folder / "README.md").read_text()


def test_a_cell_asks_in_its_format_and_stops_by_its_stops(tasks: dict[str, Task]) -> None:
    task = replace(tasks["dish_review"], test=(Example("Good?", "yes"),))
    cell = Cell("ann/one", task, format_named("gemma"), task.test)

    (work,) = cell.work({"ann/one": "ann/one@1"})

    assert (work.prompt, work.mixture) == (
        "<start_of_turn>user\nGood?<end_of_turn>\n<start_of_turn>model\n",
        (("ann/one@1", 1.0),),
    )
    assert json.loads(cell.decoding)["stop"] == ["\n", "<end_of_turn>"]


def test_a_member_that_says_nothing_is_asked_in_the_tasks_template(tasks: dict[str, Task]) -> None:
    silent = Member(PLAN[0], tasks[PLAN[0].task], None, None)

    assert {name: one.template() for name, one in silent.formats.items()} == {
        TASK: "{input}\nAnswer:",
        DETECTED: "{input}\nAnswer:",
        TRUE: PLAN[0].truth.template(),
    }


def test_the_choice_is_made_on_validation_and_told_on_test() -> None:
    own = Asked(
        {TASK: [0.0, 1.0], DETECTED: [1.0, 1.0], TRUE: [1.0, 1.0]}, {TASK: [1.0], DETECTED: [0.25], TRUE: [0.5]}
    )
    base = Asked({TASK: [0.0], BASE_CHAT: [0.0]}, {TASK: [0.125], BASE_CHAT: [1.0]})  # a tie: the task's stays

    assert columns(own, base) == {
        "task": [1.0],
        "detected": [0.25],
        "true": [0.5],
        "chosen": [0.25],
        "base, task": [0.125],
        "base, best": [0.125],
    }


def test_the_products_pick_is_a_column_where_it_raced() -> None:
    own, base = (
        Asked({TASK: [0.0], DETECTED: [0.0]}, {TASK: [0.0], DETECTED: [0.0], TRUE: [0.5]}),
        Asked({TASK: [0.0]}, {TASK: [0.0]}),
    )

    assert list(columns(own, base, {"raced, task": [0.75]}).items())[-1] == ("raced, task", [0.75])


def test_a_difference_that_every_item_shows_has_an_interval_without_width() -> None:
    row = {TASK: [0.0, 1.0, 0.0, 1.0], TRUE: [1.0, 2.0, 1.0, 2.0]}

    found = means([row, row])

    assert found[TRUE]["value"] == 1.5
    assert (found[TRUE]["over_task"], found[TRUE]["over_task_interval"]) == (1.0, [1.0, 1.0])
    assert found[TASK]["interval"][0] < 0.5 < found[TASK]["interval"][1]


def test_a_pool_that_is_not_whole_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=f"lacks {len(PLAN)} adapters: formats/thing-kind"):
        members(tmp_path, BASE_FORMAT, None)


def test_a_pool_of_another_plan_is_refused(tmp_path: Path) -> None:
    keep_plan(tmp_path, PLAN)
    keep_plan(tmp_path, PLAN)

    with pytest.raises(SettingError, match="planned otherwise"):
        keep_plan(tmp_path, PLAN[:1])


def best_row(repo: str | None, **further: Any) -> dict[str, Any]:
    return {"task": "thing_kind", "repo": repo, "score": 0.75, "base_score": 0.25, **further}


def test_a_pick_is_asked_as_the_snapshot_says(tasks: dict[str, Task]) -> None:
    true = PLAN[0].truth.template()
    alone = pick_of(best_row(PLAN[0].name))
    in_format = pick_of(best_row(PLAN[0].name, format="alpaca", template=true, stops=["###"]))
    of_another = pick_of(best_row(PLAN[2].name, format="alpaca", template=true, stops=None))

    asked = [pick.asked_in(tasks["thing_kind"]) for pick in (alone, in_format)]

    assert [(one.template(), one.stops) for one in asked] == [("{input}\nAnswer:", ()), (true, ("###",))]
    assert [pick.is_true for pick in (alone, in_format, of_another)] == [False, True, False]


def test_a_race_tells_true_formats_only_where_the_product_tells_formats() -> None:
    picks = (pick_of(best_row(None)), pick_of(best_row(PLAN[0].name, template=PLAN[0].truth.template())))

    told = [Race({"spent": 1, "exhaustive": 2}, by_format, picks).figures for by_format in (False, True)]

    assert [(one["in_true_format"], one["score"], one["base_score"]) for one in told] == [
        (None, 0.75, 0.25),
        (1, 0.75, 0.25),
    ]
    assert [pick["repo"] for pick in told[0]["picks"]] == ["", PLAN[0].name]


def test_the_table_has_a_line_an_adapter_a_column_a_format_and_the_counts() -> None:
    score = {"value": 0.5, "interval": [0.4, 0.6], "over_task": 0.1, "over_task_interval": [0.0, 0.2]}
    names = ("task", "detected", "true", "chosen", "base, task", "base, best")
    adapter = {
        "task": "thing_kind",
        "format": "alpaca",
        "says": "card code",
        "detected": {"format": "alpaca", "source": "card code"},
        "verdict": "right",
        "test": dict.fromkeys(names, 0.5),
    }
    base = {"best_for_all": "alpaca", "test": {"alpaca": 0.25}, "validation": {"alpaca": 0.5}}

    table = lines(
        {
            "adapters": [adapter],
            "means": dict.fromkeys(names, score),
            "base": base,
            "detection": {"pool": {"right": 1, "wrong": 0, "silent": 0}},
        }
    )

    assert table[1].split() == ["thing_kind", "alpaca", "card", "code", "alpaca,", "right", *["0.500"] * 6]
    assert table[5].split() == [
        "true",
        "mean",
        "0.500",
        "[0.400,",
        "0.600]",
        "over",
        "task:",
        "+0.100",
        "[+0.000,",
        "+0.200]",
    ]
    assert table[-1] == "detection, pool: 1 right, 0 wrong, 0 silent"
