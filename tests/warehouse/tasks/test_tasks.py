"""Task files: what is read, and for every fault the file, the line and the field."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from catalog.errors import TaskError
from catalog.tasks.metrics import METRICS
from catalog.tasks.task import DEFAULT_TEMPLATE, Example, Task
from warehouse.tasks.folder import MIN_VALIDATION, read_task, read_tasks, store_task

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


def cause_of(where: Path) -> str:
    with pytest.raises(TaskError) as caught:
        read_task(where)
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


def test_options_and_domain_are_stored_and_read_back(tmp_path: Path) -> None:
    examples = tuple(Example(e.input, "é", ("é", "b")) for e in EXAMPLES)
    task = Task("t", "option_loglikelihood", examples, domain="nli")
    assert read_task(store_task(tmp_path, task)) == task


def test_a_task_without_the_newer_fields_is_stored_as_ever(tmp_path: Path) -> None:
    folder = store_task(tmp_path, Task("t", "exact_match", (Example("é", "b"),)))
    assert (folder / "validation.jsonl").read_text() == '{"input": "é", "target": "b"}\n'
    assert list(json.loads((folder / "task.json").read_text())) == (
        ["name", "metric", "template", "adapter", "max_new_tokens", "description"]
    )


def test_a_metric_of_options_needs_them_in_every_example(tmp_path: Path) -> None:
    good = {"input": "x", "target": "B", "options": ["yes", "no"]}
    write_task(tmp_path, lines([good, {**good, "target": "maybe"}]), metric="option_loglikelihood")
    assert cause_of(tmp_path) == (
        f"{tmp_path / 'task.json'}: metric option_loglikelihood needs options that hold the target; "
        "validation example 2 has 2 without it (field options)."
    )


def test_a_task_replaces_the_one_of_its_name(tmp_path: Path) -> None:
    store_task(tmp_path, Task("t", "rouge_l", EXAMPLES, EXAMPLES))
    store_task(tmp_path, Task("t", "exact_match", EXAMPLES))
    assert read_tasks(tmp_path) == [Task("t", "exact_match", EXAMPLES)]


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
        ('{"input": "x", "target": "x", "options": "x"}', ": field options must be a list of texts."),
        ('{"input": "x", "target": "x", "options": ["x", ""]}', ": field options must be a list of texts."),
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
        ({"metric": "rouge"}, f"metric is 'rouge', not one of {', '.join(METRICS)}."),
        ({"metric": ["exact_match"]}, f"metric is ['exact_match'], not one of {', '.join(METRICS)}."),
        ({"template": "Q:"}, "template must hold {input}, or be chat."),
        ({"template": 1}, "template must hold {input}, or be chat."),
        ({"max_new_tokens": 0}, "max_new_tokens is 0, not a number from 1 to 4096."),
        ({"max_new_tokens": True}, "max_new_tokens is True, not a number from 1 to 4096."),
        ({"max_new_tokens": "8"}, "max_new_tokens is '8', not a number from 1 to 4096."),
        ({"adapter": 1}, "adapter must be text."),
        ({"description": []}, "description must be text."),
        ({"domain": 1}, "domain must be text."),
        *(
            ({"name": name}, f"name is {name!r}; use letters, digits, '_', '-' and '.'.")
            for name in ("../../evil", "/etc/x", "a/b", ".hidden", "a\n", "", "é", "x" * 65, None, 1, "a\0")
        ),
    ],
)
def test_a_bad_field_is_named(tmp_path: Path, fields: dict[str, object], fault: str) -> None:
    write_task(tmp_path, **fields)
    assert cause_of(tmp_path) == f"{tmp_path / 'task.json'}: field {fault}"


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
