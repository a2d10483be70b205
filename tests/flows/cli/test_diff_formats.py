"""`lorauter diff` tells of every task that is published in another prompt format, and of bases asked in another."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from flows.cli.main import cli
from warehouse.snapshots.snapshot import publish

BASE = {"base": "tiny/llama", "base_sha": "a" * 40}
ANN, BOB = "ann/x@1", "bob/y:deep@2"
Run = Callable[..., Result]


def tables(task: str, pick: str, format_: str | None, base_format: str | None) -> dict[str, list[dict[str, Any]]]:
    """A task that publishes one of two adapters, asked in that format; lifts are the same whatever it is."""
    lifts = {ANN: 0.4, BOB: 0.3, "": 0.0}
    formats = {pick: format_} | ({} if pick == "" else {"": base_format})
    best = {"task": task, "adapter": pick, "lift": lifts[pick], "format": format_, "base_format": base_format}
    scores = [
        {"task": task, "adapter": key, "lift": lift, "chosen": key == pick, "format": formats.get(key)}
        for key, lift in lifts.items()
    ]
    return {
        "tasks": [{**BASE, "task": task}],
        "best": [{**BASE, **best}],
        "scores": [{**BASE, **row} for row in scores],
    }


BEFORE = [
    tables("animals", ANN, None, None),
    tables("colours", ANN, "alpaca", "chatml"),
    tables("letters", BOB, None, None),
    tables("numbers", "", "chatml", "chatml"),
    tables("pets", ANN, "alpaca", None),
]
NOW = [
    tables("animals", ANN, "own 12345678", None),
    tables("colours", ANN, "alpaca", None),
    tables("letters", ANN, "alpaca", None),
    tables("numbers", BOB, None, "chatml"),
    tables("pets", ANN, "alpaca", None),
]


@pytest.fixture
def diff(tmp_path: Path) -> Run:
    """Runs `lorauter diff` from the first of two snapshots to the second."""
    ids = []
    for of_tasks in (BEFORE, NOW):
        whole = {name: [row for one in of_tasks for row in one[name]] for name in of_tasks[0]}
        ids.append(publish(tmp_path / "snapshots", whole, {}).id)
    return lambda *words: CliRunner().invoke(cli, ["--home", str(tmp_path), "diff", ids[0], *words])


def test_a_task_that_is_published_in_another_format_is_told_below_the_table(diff: Run) -> None:
    lines = diff().stdout.splitlines()

    tasks = {row["task"] for one in NOW for row in one["tasks"]}
    assert [line for line in lines if line.partition(":")[0] in tasks] == [
        "animals: ann/x is published, asked in own 12345678; before in the task's own template",
        "colours: the base is asked in the task's own template; before in chatml",
        "letters: ann/x is published, asked in alpaca; before in the task's own template (bob/y:deep)",
        "numbers: bob/y:deep is published, asked in the task's own template; before in chatml (the base)",
    ]
    assert diff("--task", "colours").stdout.splitlines()[-1].startswith("colours: the base is asked in")


def test_json_has_both_formats_of_every_row(diff: Run) -> None:
    rows = [json.loads(line) for line in diff("--format", "json").stdout.splitlines()]

    told = [
        (row["task"], row["adapter"], row["change"], row["format_before"], row["format"], row["chosen"]) for row in rows
    ]
    assert told == [
        ("animals", ANN, "switched", None, "own 12345678", True),
        ("colours", "", "switched", "chatml", None, False),
        ("letters", ANN, "rose", None, "alpaca", True),
        ("letters", BOB, "fell", None, None, False),
        ("numbers", "", "fell", "chatml", "chatml", False),
        ("numbers", BOB, "rose", None, None, True),
    ]
