"""Which examples choose, and which report."""

from __future__ import annotations

import pytest

from catalog.tasks.task import Example, Task
from lorauter.racing.selection import split_examples


def _task(examples: int) -> Task:
    return Task("t", "exact_match", tuple(Example(f"question {n}", "yes") for n in range(examples)))


@pytest.mark.parametrize(("examples", "sizes"), [(64, (38, 26)), (10, (6, 4)), (2, (1, 1)), (1, (0, 1))])
def test_selection_and_report_share_no_example_and_lose_none(examples: int, sizes: tuple[int, int]) -> None:
    task = _task(examples)

    selection, report = split_examples(task, 0.4)

    assert (len(selection), len(report)) == sizes
    assert {e.id for e in [*selection, *report]} == {e.id for e in task.validation}


def test_the_order_of_examples_does_not_matter() -> None:
    task = _task(30)
    turned = Task("t", "exact_match", task.validation[::-1])

    assert split_examples(task, 0.4) == split_examples(turned, 0.4)
