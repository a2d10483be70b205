"""Raw labelled files: what is read as which task, and for every fault the file, the row and the field."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from catalog.tasks.metrics import METRICS
from catalog.tasks.task import Example, Task
from tests.warehouse.tasks.labelled_files import (
    EXAMPLES,
    ROWS,
    WRITERS,
    cause_of,
    lines,
    read_one,
    write_jsonl,
)
from warehouse.tasks.folder import store_task
from warehouse.tasks.readers import Layout, SourceTasks, read_source

DATA = Path(os.environ.get("LORAUTER_TEST_DATA") or Path(__file__).parents[4] / "shared" / "data")
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="the public task files are not here: set LORAUTER_TEST_DATA")


@pytest.mark.parametrize("ending", WRITERS)
@pytest.mark.parametrize("folder", ["plain", "it's [1]*", "split=test"])
def test_a_file_of_rows_is_a_task_named_after_it(tmp_path: Path, ending: str, folder: str) -> None:
    path = tmp_path / folder / f"my_task{ending}"
    path.parent.mkdir()
    WRITERS[ending](path, ROWS)
    assert read_one(path) == Task("my_task", "exact_match", EXAMPLES)


@pytest.mark.parametrize("ending", WRITERS)
def test_a_column_splits_the_rows(tmp_path: Path, ending: str) -> None:
    splits = ("validation", "validation", "test", "train")
    rows = [{**row, "split": split} for row, split in zip(ROWS, splits, strict=False)]
    WRITERS[ending](tmp_path / f"t{ending}", rows)
    assert read_one(tmp_path / f"t{ending}") == Task("t", "exact_match", EXAMPLES[:2], EXAMPLES[2:3], EXAMPLES[3:4])


def test_semicolons_and_numbers_in_a_csv_stay_text(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("input,target\na;b;c,01\nd;e;f,02\n")
    assert read_one(path).validation == (Example("a;b;c", "01"), Example("d;e;f", "02"))


@pytest.mark.parametrize("ending", WRITERS)
def test_a_missing_text_names_file_row_and_field(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"t{ending}"
    WRITERS[ending](path, [*ROWS[:1], {"input": "x", "target": None}, *ROWS])
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
    assert cause_of(tmp_path / "t.csv") == f"{tmp_path}/t.csv does not exist."
    (tmp_path / "t.xlsx").touch()
    assert cause_of(tmp_path / "t.xlsx") == f"{tmp_path}/t.xlsx has an unknown ending."


def test_a_file_without_rows_is_told(tmp_path: Path) -> None:
    (tmp_path / "t.jsonl").touch()
    assert cause_of(tmp_path / "t.jsonl") == f"{tmp_path}/t.jsonl holds no rows."


def test_a_hostile_name_given_beside_a_file_is_refused(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "t.jsonl", ROWS)
    assert "field name is '../x'" in cause_of(tmp_path / "t.jsonl", fields={"name": "../x"})


def test_fields_given_beside_a_file_are_the_tasks(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "t.jsonl", ROWS)
    fields = {"name": "n", "metric": "bleu", "template": "{input}?", "max_new_tokens": 3, "domain": "d", "adapter": "a"}
    assert read_one(tmp_path / "t.jsonl", fields=fields) == Task(
        "n", "bleu", EXAMPLES, template="{input}?", max_new_tokens=3, adapter="a", domain="d"
    )


def test_each_file_of_a_folder_is_a_task_but_files_named_by_a_split_make_one(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    for name in ("a.jsonl", "b.csv", "sst2/validation-00000-of-00001.parquet", "sst2/data/test_2.jsonl", "dev.jsonl"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        rows = ROWS[:3] if "test" in name else ROWS[3:]
        WRITERS[Path(name).suffix](folder / name, rows)
    (folder / ".hidden.jsonl").touch()
    (folder / "notes.txt").touch()
    assert read_source(folder, Layout()) == SourceTasks(
        (
            Task("a", "exact_match", EXAMPLES[3:]),
            Task("b", "exact_match", EXAMPLES[3:]),
            Task("mine", "exact_match", EXAMPLES[3:]),
            Task("sst2", "exact_match", EXAMPLES[3:], EXAMPLES[:3]),
        ),
        (),
    )


def test_files_are_chosen_by_pattern(tmp_path: Path) -> None:
    for name in ("a.jsonl", "b.jsonl"):
        write_jsonl(tmp_path / name, ROWS)
    assert read_one(tmp_path, files=("b.*",)).name == "b"
    assert cause_of(tmp_path, files=("c*",)).endswith("files that match c*.")


def test_a_file_without_the_columns_is_skipped_and_told(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "a.jsonl", ROWS)
    write_jsonl(tmp_path / "b.jsonl", [{"question": "x"}])
    found = read_source(tmp_path, Layout())
    assert [task.name for task in found.tasks] == ["a"]
    assert found.notes == (f"{tmp_path}/b.jsonl: skipped, no columns of an input and a target",)


def test_a_folder_of_nothing_but_other_columns_is_refused(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "b.jsonl", [{"question": "x"}])
    assert cause_of(tmp_path) == f"{tmp_path}/b.jsonl: skipped, no columns of an input and a target."


def test_big_bench_hard_is_read_with_the_options_in_its_inputs(tmp_path: Path) -> None:
    question = "Which is a pet?\nOptions:\n(A) dog\n(B) oak"
    rows = [{"input": f"{n}. {question}", "target": "(A)"} for n in range(2)]
    (tmp_path / "pets.json").write_text(json.dumps({"canary": "x", "examples": rows}))
    examples = tuple(Example(row["input"], "(A)", ("dog", "oak")) for row in rows)
    assert read_one(tmp_path) == Task("pets", "exact_match", examples, max_new_tokens=50)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("{", " is not JSON (Expecting property name enclosed in double quotes: line 1 column 2 (char 1))."),
        ('{"examples": 1}', " holds no list of rows, nor an object with a list in field examples."),
        ("[1]", ", row 1 is not a JSON object."),
    ],
)
def test_a_json_file_that_holds_no_rows_is_told(tmp_path: Path, text: str, fault: str) -> None:
    (tmp_path / "t.json").write_text(text)
    assert cause_of(tmp_path / "t.json") == f"{tmp_path}/t.json{fault}"


FLAN = {"domain": "nli", "metric": "em", "inputs": "Wet?\n\nOPTIONS:\n- yes\n- no", "targets": "no"}


def test_flan_rows_are_tasks_by_their_column(tmp_path: Path) -> None:
    rows = [{**FLAN, "task": task, "inputs": f"{n} {FLAN['inputs']}"} for n in range(2) for task in ("rte", "cb")]
    text = [{**FLAN, "task": "dart", "metric": "rouge", "domain": "struct", "inputs": f"say {n}"} for n in range(2)]
    write_jsonl(tmp_path / "validation_20.jsonl", rows + text)
    examples = tuple(Example(f"{n} {FLAN['inputs']}", "no", ("yes", "no")) for n in range(2))
    said = (Example("say 0", "no"), Example("say 1", "no"))
    assert read_source(tmp_path, Layout()).tasks == (
        Task("cb", "exact_match", examples, max_new_tokens=50, domain="nli"),
        Task("dart", "struct_to_text", said, max_new_tokens=50, domain="struct"),
        Task("rte", "exact_match", examples, max_new_tokens=50, domain="nli"),
    )


def test_a_name_makes_one_task_of_flan_rows_if_a_metric_is_chosen(tmp_path: Path) -> None:
    write_jsonl(
        tmp_path / "t.jsonl", [{**FLAN, "task": "rte"}, {**FLAN, "task": "dart", "metric": "rouge", "inputs": "x yz"}]
    )
    path = tmp_path / "t.jsonl"
    assert cause_of(path, fields={"name": "all"}) == (
        f"{path}, row 3: field metric is 'struct_to_text', but 'exact_match' in row 1."
    )
    rows = [{**FLAN, "task": "rte"}, {**FLAN, "task": "dart", "inputs": "other", "domain": "struct"}]
    write_jsonl(path, rows)
    task = read_one(path, fields={"name": "all", "metric": "lenient_match"})
    assert (task.name, task.metric, task.domain, len(task.validation)) == ("all", "lenient_match", None, 2)


@pytest.mark.parametrize("metric", ["f1", 1])
def test_an_unknown_metric_of_a_flan_row_is_named(tmp_path: Path, metric: object) -> None:
    path = tmp_path / "t.jsonl"
    write_jsonl(path, [{**FLAN, "task": "rte", "metric": metric}])
    assert cause_of(path) == f"{path}, row 1: field metric is {metric!r}, not one of {', '.join(METRICS)}."


@pytest.mark.parametrize(("fields", "fault"), [({"name": "n"}, "one name"), ({"adapter": "a/b"}, "one adapter")])
def test_one_name_or_adapter_for_several_tasks_is_refused(tmp_path: Path, fields: dict[str, str], fault: str) -> None:
    for name in ("a.jsonl", "b.jsonl"):
        write_jsonl(tmp_path / name, ROWS)
    assert fault in cause_of(tmp_path, fields=fields)


def test_options_beside_a_task_folder_are_refused(tmp_path: Path) -> None:
    folder = store_task(tmp_path, Task("t", "exact_match", EXAMPLES))
    assert cause_of(tmp_path, fields={"metric": "bleu"}) == f"{folder}/task.json says how its task is."


@needs_data
def test_the_papers_tasks_are_read_with_all_their_options() -> None:
    found = read_source(DATA / "flan48", Layout(keep=True))
    known = [task for task in found.tasks if task.domain]
    assert (len(found.tasks), len(known), len({task.domain for task in known})) == (66, 48, 10)
    assert {len(task.validation) for task in found.tasks} == {20}
    assert {task.metric for task in known} == {"exact_match", "bleu", "struct_to_text"}
    examples = [e for task in found.tasks for e in (*task.validation, *task.test)]
    assert all(bool(e.options) == ("OPTIONS:" in e.input) for e in examples)
    leaking = [note for note in found.notes if "is a test input too" in note]
    assert (len(leaking), len(found.notes)) == (11, 13)


@needs_data
def test_big_bench_hard_is_27_tasks() -> None:
    found = read_source(DATA / "bbh", Layout(counts={"validation": 50, "test": 90}))
    assert [(len(task.validation), len(task.test)) for task in found.tasks] == [(50, 90)] * 27
    assert sum(all(e.options for e in task.validation) for task in found.tasks) >= 18
    assert found.notes[-1].endswith("rows left over, asked for by no split")
