"""Rows that say nothing, say something twice, or give the test away."""

from __future__ import annotations

from pathlib import Path

from catalog.tasks.task import Example, Task
from tests.warehouse.tasks.labelled_files import (
    EXAMPLES,
    ROWS,
    cause_of,
    lines,
    write_csv,
)
from warehouse.tasks.folder import store_task
from warehouse.tasks.labelled_rows import Columns
from warehouse.tasks.readers import Layout, SourceTasks, read_source


def test_faulty_rows_are_told_with_their_ids_and_dropped_where_that_is_harmless(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    rows = [
        ("first one", "yes", "validation"),
        ("first  one ", "yes", "validation"),  # row 2 repeats it
        ("?!", "yes", "validation"),  # 3: near-empty, kept
        (" ", "yes", "validation"),  # 4: empty
        ("second one", "no", "validation"),  # 5: leaks
        ("third one", "no", "validation"),
        ("second one", "no", "test"),
        ("third one", "no", "train"),  # 8: leaks
    ]
    write_csv(path, [dict(zip(("input", "target", "split"), row, strict=True), k=f"k{row[0][0]}") for row in rows])
    found = read_source(path, Layout(Columns(id="k")))
    assert found == SourceTasks(
        (
            Task(
                "t",
                "exact_match",
                (Example("first one", "yes"), Example("?!", "yes"), Example("third one", "no")),
                (Example("second one", "no"),),
            ),
        ),
        (
            f"t: 1 row dropped, empty in field input or target: {path}, row 4 (id k )",
            f"t: 1 row kept, with fewer than 3 letters or digits in field input: {path}, row 3 (id k?)",
            f"t: 1 row dropped, with the input and target of an earlier row: {path}, row 2 (id kf)",
            f"t: 1 row dropped, of validation whose field input is a test input too: {path}, row 5 (id ks)",
            f"t: 1 row dropped, of train whose field input is a validation input too: {path}, row 8 (id kt)",
        ),
    )


def test_what_is_kept_is_told_too_and_long_lists_are_cut(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text(lines(ROWS + ROWS))
    found = read_source(path, Layout(keep=True))
    assert found.tasks[0].validation == EXAMPLES * 2
    assert found.notes == (
        f"t: 8 rows kept, with the input and target of an earlier row: {path}, rows 9, 10, 11, 12, 13 and 3 more",
    )


def test_a_task_left_with_one_example_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text(lines(ROWS[:1] * 9))
    assert cause_of(path) == (
        f"{path}: t has 1 validation examples, at least 2 are needed; "
        f"t: 8 rows dropped, with the input and target of an earlier row: {path}, rows 2, 3, 4, 5, 6 and 3 more."
    )


def test_rows_of_a_task_folder_are_told_of_and_stay(tmp_path: Path) -> None:
    task = Task("t", "exact_match", EXAMPLES * 2, EXAMPLES[:1])
    folder = store_task(tmp_path, task)
    found = read_source(tmp_path, Layout())
    assert found.tasks == (task,)
    path = folder / "validation.jsonl"
    assert found.notes == (
        f"t: 8 rows kept, with the input and target of an earlier row: {path}, rows 9, 10, 11, 12, 13 and 3 more",
        f"t: 2 rows kept, of validation whose field input is a test input too: {path}, rows 1, 9",
    )
