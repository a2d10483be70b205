"""Columns of raw labelled files: mapped, joined, options in the usual layouts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from catalog.tasks.task import Example
from tests.warehouse.tasks.labelled_files import (
    ROWS,
    cause_of,
    read_one,
    write_jsonl,
    write_parquet,
)
from warehouse.tasks.labelled_rows import Columns


def test_columns_are_mapped_and_inputs_joined(tmp_path: Path) -> None:
    rows = [{"context": "It rains.", "question": f"Is it wet? {n}", "answer": "yes", "part": "test"} for n in range(2)]
    write_jsonl(tmp_path / "t.jsonl", [*rows, *({**row, "context": "Sun.", "part": "validation"} for row in rows)])
    columns = Columns(("context", "question"), "answer", split="part")
    task = read_one(tmp_path / "t.jsonl", columns=columns)
    assert [e.input for e in task.validation] == ["Sun.\nIs it wet? 0", "Sun.\nIs it wet? 1"]
    assert [e.input for e in task.test] == ["It rains.\nIs it wet? 0", "It rains.\nIs it wet? 1"]


@pytest.mark.parametrize(
    ("row", "options"),
    [
        ({"target": "no", "o": ["yes", "no"]}, ("o",)),
        ({"target": 1, "o": ["yes", "no"]}, ("o",)),
        ({"target": "1", "o": '["yes", "no"]'}, ("o",)),
        ({"target": "no", "o": {"text": ["yes", "no"], "label": ["A", "B"]}}, ("o",)),
        ({"target": 1, "one": "yes", "two": "no"}, ("one", "two")),
    ],
    ids=["a list", "a number", "JSON text", "texts and labels", "a column each"],
)
def test_options_come_in_the_usual_layouts(tmp_path: Path, row: dict[str, Any], options: tuple[str, ...]) -> None:
    write_jsonl(tmp_path / "t.jsonl", [{"input": f"wet {n}?", **row} for n in range(2)])
    task = read_one(tmp_path / "t.jsonl", columns=Columns(options=options))
    assert task.validation == tuple(Example(f"wet {n}?", "no", ("yes", "no")) for n in range(2))


def test_options_of_a_parquet_struct_are_read(tmp_path: Path) -> None:
    rows = [{"input": f"wet {n}?", "target": "B", "o": {"text": ["yes", "no"], "label": ["A", "B"]}} for n in range(2)]
    write_parquet(tmp_path / "t.parquet", rows)
    task = read_one(tmp_path / "t.parquet", columns=Columns(options=("o",)))
    assert task.validation[0] == Example("wet 0?", "B", ("yes", "no"))


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        ({"target": "no"}, "field o is missing; the row has input, target."),
        ({"target": "no", "o": ["no"]}, "field o must hold two texts or more."),
        ({"target": "no", "o": ["no", 1]}, "field o must hold two texts or more."),
        ({"target": "no", "o": {"label": ["A"]}}, "field o must hold two texts or more."),
        ({"target": "no", "o": ["yes", "maybe"]}, "field target is 'no', which is none of the options."),
        ({"target": 2, "o": ["yes", "maybe"]}, "field target must be text that is not empty."),
        ({"target": True, "o": ["yes", "maybe"]}, "field target must be text that is not empty."),
        ({"o": ["yes", "maybe"]}, "field target must be text that is not empty."),
    ],
)
def test_bad_options_name_file_row_and_field(tmp_path: Path, row: dict[str, Any], fault: str) -> None:
    write_jsonl(tmp_path / "t.jsonl", [{"input": "x", **row}])
    path = tmp_path / "t.jsonl"
    assert cause_of(path, columns=Columns(options=("o",))) == f"{path}, row 1: {fault}"


def test_a_missing_id_names_the_row(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "t.jsonl", ROWS)
    path = tmp_path / "t.jsonl"
    assert cause_of(path, columns=Columns(id="uid")) == (
        f"{path}, row 1: field uid is missing; the row has input, target."
    )
