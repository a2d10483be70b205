"""Splits: names of files, and rows dealt out once, the same way whatever their order."""

from __future__ import annotations

from pathlib import Path

import pytest

from catalog.errors import TaskError
from catalog.tasks.task import Example
from warehouse.tasks.labelled_rows import LabelledRow
from warehouse.tasks.splits import deal, split_of


def rows(count: int, split: str | None = None) -> list[LabelledRow]:
    return [LabelledRow(Path("t.csv"), n, Example(f"{split} {n}", "x"), split=split) for n in range(count)]


@pytest.mark.parametrize(
    ("stem", "split"),
    [
        ("train", "train"),
        ("validation_20", "validation"),
        ("Dev", "validation"),
        ("val-1", "validation"),
        ("test-00000-of-00001", "test"),
        ("testing", None),
        ("my_test", None),
        ("word_sorting", None),
    ],
)
def test_a_file_is_named_by_its_split(stem: str, split: str | None) -> None:
    assert split_of(stem) == split


def test_rows_of_no_split_are_validation() -> None:
    dealt, left = deal("t", [*rows(2), *rows(1, "test")], {})
    assert ({split: len(found) for split, found in dealt.items()}, left) == (
        {"train": 0, "validation": 2, "test": 1},
        0,
    )


def test_counts_draw_disjoint_splits_that_do_not_depend_on_the_order() -> None:
    counts = {"validation": 3, "test": 4, "train": 1}
    dealt, left = deal("t", rows(10), counts)
    again, _ = deal("t", rows(10)[::-1], counts)
    assert (dealt, left) == (again, 2)
    drawn = [row.number for found in dealt.values() for row in found]
    assert (len(drawn), len(set(drawn))) == (8, 8)


def test_what_is_not_counted_stays_validation() -> None:
    dealt, left = deal("t", rows(10), {"test": 4})
    assert (len(dealt["validation"]), len(dealt["test"]), left) == (6, 4, 0)


def test_a_split_that_no_row_names_is_drawn_from_train_before_test() -> None:
    dealt, _ = deal("t", [*rows(5, "train"), *rows(5, "test")], {"validation": 2})
    assert {split: len(found) for split, found in dealt.items()} == {"train": 3, "validation": 2, "test": 5}


def test_a_named_split_is_cut_to_its_count() -> None:
    dealt, _ = deal("t", [*rows(5, "validation"), *rows(5, "test")], {"validation": 2})
    assert {split: len(found) for split, found in dealt.items()} == {"train": 0, "validation": 2, "test": 5}


def test_too_few_rows_to_draw_from_are_counted() -> None:
    with pytest.raises(TaskError) as caught:
        deal("t.csv", rows(3), {"validation": 2, "test": 2})
    assert (caught.value.cause, caught.value.next_step) == (
        "t.csv: 2 test examples are asked for, there are 1 to draw from.",
        "Ask for fewer with --test, or add rows; nothing was stored.",
    )
