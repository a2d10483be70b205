"""Task files: what is read, and for every fault the file, the line and the field."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from catalog.errors import TaskError
from catalog.task import DEFAULT_TEMPLATE, Example, Task
from warehouse.tasks import MIN_VALIDATION, read_task, read_task_file, read_tasks, store_task

ROWS = [{"input": f"in {n}", "target": f'out, {n}\n"é"'} for n in range(MIN_VALIDATION)]
EXAMPLES = tuple(Example(row["input"], row["target"]) for row in ROWS)
METRIC = {"metric": "exact_match"}


def lines(rows: Sequence[object]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def write_task(folder: Path, validation: str = lines(ROWS), **fields: object) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "task.json").write_text(json.dumps({"name": "colours", **METRIC, **fields}))
    (folder / "validation.jsonl").write_text(validation)
    return folder


def cause_of(where: Path, **fields: object) -> str:
    with pytest.raises(TaskError) as caught:
        read_task_file(where, {**METRIC, **fields}) if where.is_file() else read_task(where)
    assert caught.value.next_step
    return caught.value.cause


def test_a_task_folder_is_read_with_its_defaults(tmp_path: Path) -> None:
    assert read_task(write_task(tmp_path)) == Task("colours", "exact_match", EXAMPLES, template=DEFAULT_TEMPLATE)


def test_all_fields_and_splits_of_a_task_folder_are_read(tmp_path: Path) -> None:
    fields: dict[str, Any] = {"template": "{input}?", "max_new_tokens": 3, "adapter": "ann/x", "description": "d"}
    write_task(tmp_path, metric="rouge_l", **fields)
    (tmp_path / "test.jsonl").write_text(lines(ROWS[:1]))
    (tmp_path / "train.jsonl").write_text(lines(ROWS[:2]))
    task = read_task(tmp_path)
    assert task == Task("colours", "rouge_l", EXAMPLES, EXAMPLES[:1], EXAMPLES[:2], "{input}?", 3, "ann/x")
    assert task.description == "d"


def test_a_folder_of_tasks_is_read_by_name(tmp_path: Path) -> None:
    for name in ("b", "a"):
        write_task(tmp_path / name, name=name)
    assert [task.name for task in read_tasks(tmp_path)] == ["a", "b"]


def test_two_tasks_of_one_name_are_refused(tmp_path: Path) -> None:
    for name in ("b", "a"):
        write_task(tmp_path / name)
    with pytest.raises(TaskError, match=r"b/task.json: field name is 'colours', which another task there has"):
        read_tasks(tmp_path)


def test_a_folder_without_tasks_is_told(tmp_path: Path) -> None:
    with pytest.raises(TaskError, match="holds no task"):
        read_tasks(tmp_path)


def test_a_stored_task_is_read_back(tmp_path: Path) -> None:
    task = Task("t.1", "rouge_l", EXAMPLES, EXAMPLES[:1], (), "é {input}", 9, "ann/x", "why")
    folder = store_task(tmp_path, task)
    assert (folder, read_task(folder), read_task(folder).description) == (tmp_path / "t.1", task, "why")


def test_a_task_replaces_the_one_of_its_name(tmp_path: Path) -> None:
    store_task(tmp_path, Task("t", "rouge_l", EXAMPLES, EXAMPLES))
    store_task(tmp_path, Task("t", "exact_match", EXAMPLES))
    assert read_tasks(tmp_path) == [Task("t", "exact_match", EXAMPLES)]


# Single files


def write_jsonl(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    path.write_text("\ufeff" + lines(rows).replace("\n", "\r\n\r\n"))


def write_csv(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)


def write_parquet(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    pq.write_table(pa.Table.from_pylist(list(rows)), path)


WRITERS = {".jsonl": write_jsonl, ".csv": write_csv, ".parquet": write_parquet}


@pytest.mark.parametrize("ending", WRITERS)
@pytest.mark.parametrize("folder", ["plain", "it's [1]*", "split=test"])
def test_a_file_of_rows_is_a_task_named_after_it(tmp_path: Path, ending: str, folder: str) -> None:
    path = tmp_path / folder / f"my_task{ending}"
    path.parent.mkdir()
    WRITERS[ending](path, ROWS)
    assert read_task_file(path, METRIC) == Task("my_task", "exact_match", EXAMPLES)


@pytest.mark.parametrize("ending", WRITERS)
def test_a_column_splits_the_rows(tmp_path: Path, ending: str) -> None:
    rows = [{**row, "split": split} for split in ("validation", "test", "train") for row in ROWS]
    WRITERS[ending](tmp_path / f"t{ending}", rows)
    assert read_task_file(tmp_path / f"t{ending}", METRIC) == Task("t", "exact_match", EXAMPLES, EXAMPLES, EXAMPLES)


def test_semicolons_and_numbers_in_a_csv_stay_text(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("input,target\n" + "a;b;c,01\n" * MIN_VALIDATION)
    assert read_task_file(path, METRIC).validation == (Example("a;b;c", "01"),) * MIN_VALIDATION


@pytest.mark.parametrize("ending", WRITERS)
def test_an_empty_text_names_file_row_and_field(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"t{ending}"
    WRITERS[ending](path, [*ROWS[:1], {"input": "x", "target": " "}, *ROWS])
    row = 3 if ending == ".jsonl" else 2  # blank lines count as lines
    assert cause_of(path) == f"{path}, row {row}: field target must be text that is not empty."


@pytest.mark.parametrize("ending", WRITERS)
def test_an_unknown_split_names_file_and_row(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"t{ending}"
    WRITERS[ending](path, [{**ROWS[0], "split": "dev"}])
    assert cause_of(path) == f"{path}, row 1: split is 'dev', not one of train, validation, test."


def test_a_split_that_is_no_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text(lines([{**ROWS[0], "split": ["test"]}]))
    assert cause_of(path) == f"{path}, row 1: split is ['test'], not one of train, validation, test."


@pytest.mark.parametrize(("name", "content"), [("t.csv", b"\xff\xfe\0"), ("t.parquet", b"PAR1"), ("t.parquet", b"")])
def test_a_damaged_table_is_named(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    assert str(tmp_path / name) in cause_of(tmp_path / name)


def test_a_missing_file_and_an_unknown_ending_are_told(tmp_path: Path) -> None:
    with pytest.raises(TaskError, match=r"t.csv does not exist"):
        read_task_file(tmp_path / "t.csv", METRIC)
    (tmp_path / "t.xlsx").touch()
    with pytest.raises(TaskError, match=r"t.xlsx has an unknown ending. Use .jsonl, .csv or .parquet."):
        read_task_file(tmp_path / "t.xlsx", METRIC)


# Faults by line and field


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("{input: 1}", " is not JSON (Expecting property name enclosed in double quotes: line 1 column 2 (char 1))."),
        ("[1]", " is not a JSON object."),
        (
            "[" * 100_000,
            " is not JSON (maximum recursion depth exceeded while decoding a JSON array from a unicode string).",
        ),
        ('{"target": "x"}', ": field input must be text that is not empty."),
        ('{"input": "x"}', ": field target must be text that is not empty."),
        ('{"input": "x", "target": 1}', ": field target must be text that is not empty."),
        ('{"input": "", "target": "x"}', ": field input must be text that is not empty."),
        (r'{"input": "\ud800", "target": "x"}', ": field input must be text that is not empty."),
    ],
)
def test_a_bad_line_is_named_with_its_field(tmp_path: Path, line: str, fault: str) -> None:
    write_task(tmp_path, lines(ROWS[:2]) + "\n" + line + "\n" + lines(ROWS))
    assert cause_of(tmp_path) == f"{tmp_path / 'validation.jsonl'}, line 4{fault}"


def test_a_line_that_is_not_utf8_is_named(tmp_path: Path) -> None:
    write_task(tmp_path)
    path = tmp_path / "test.jsonl"
    path.write_bytes(b'{"input": "a", "target": "b"}\n{"input": "\xe9", "target": "b"}\n')
    assert cause_of(tmp_path) == f"{path}, line 2 is not UTF-8 (byte 11)."


@pytest.mark.parametrize(
    ("fields", "fault"),
    [
        ({"metric": "bleu"}, "metric is 'bleu', not one of exact_match, rouge_l."),
        ({"metric": ["exact_match"]}, "metric is ['exact_match'], not one of exact_match, rouge_l."),
        ({"template": "Q:"}, "template must hold {input}."),
        ({"template": 1}, "template must hold {input}."),
        ({"max_new_tokens": 0}, "max_new_tokens is 0, not a number from 1 to 4096."),
        ({"max_new_tokens": True}, "max_new_tokens is True, not a number from 1 to 4096."),
        ({"max_new_tokens": "8"}, "max_new_tokens is '8', not a number from 1 to 4096."),
        ({"adapter": 1}, "adapter must be text."),
        ({"description": []}, "description must be text."),
        *(
            ({"name": name}, f"name is {name!r}; use letters, digits, '_', '-' and '.'.")
            for name in ("../../evil", "/etc/x", "a/b", ".hidden", "a\n", "", "é", "x" * 65, None, 1, "a\0")
        ),
    ],
)
def test_a_bad_field_is_named(tmp_path: Path, fields: dict[str, object], fault: str) -> None:
    write_task(tmp_path, **fields)
    assert cause_of(tmp_path) == f"{tmp_path / 'task.json'}: field {fault}"


def test_a_hostile_name_given_beside_a_file_is_refused(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "t.jsonl", ROWS)
    assert "field name is '../x'" in cause_of(tmp_path / "t.jsonl", name="../x")


def test_too_few_validation_examples_are_counted(tmp_path: Path) -> None:
    write_task(tmp_path, lines(ROWS[1:]))
    assert cause_of(tmp_path) == (
        f"{tmp_path / 'task.json'}: {MIN_VALIDATION - 1} validation examples, at least {MIN_VALIDATION} are needed."
    )


@pytest.mark.parametrize(("text", "fault"), [("{", "is not JSON"), ("[]", "is not a JSON object.")])
def test_a_task_json_that_is_none_is_named(tmp_path: Path, text: str, fault: str) -> None:
    write_task(tmp_path)
    (tmp_path / "task.json").write_text(text)
    assert cause_of(tmp_path).startswith(f"{tmp_path / 'task.json'} {fault}")
