"""Successive halving: who goes on, and which examples are spent on whom."""

from __future__ import annotations

from catalog.task import Example, Task
from lorauter.halving import (
    HalvingOptions,
    Standing,
    next_rung,
    planned_evaluations,
    pool_sizes,
    ranked,
    split_examples,
)

OPTIONS = HalvingOptions()


def _task(examples: int) -> Task:
    return Task("t", "exact_match", tuple(Example(f"question {n}", "yes") for n in range(examples)))


def test_the_papers_pool_halves_as_in_the_paper() -> None:
    assert pool_sizes(48, HalvingOptions(rungs=(37, 33, 50, 75, 1))) == [48, 24, 12, 6, 3]


def test_the_better_half_goes_on_best_first() -> None:
    standings = [
        Standing(key, mean) for key, mean in zip("abcdefgh", (0.1, 0.8, 0.3, 0.9, 0.2, 0.7, 0.0, 0.6), strict=True)
    ]

    assert next_rung(standings, OPTIONS) == ["d", "b", "f", "h"]


def test_no_fewer_than_the_least_go_on() -> None:
    assert next_rung([Standing(key, 0.5) for key in "dcba"], OPTIONS) == ["a", "b", "c"]
    assert next_rung([Standing(key, 0.5) for key in "ba"], OPTIONS) == ["a", "b"]


def test_a_tie_goes_to_the_tasks_own_adapter_then_to_the_first_key() -> None:
    tied = [Standing("b", 0.5), Standing("c", 0.5, declared=True), Standing("a", 0.5), Standing("z", 0.6)]

    assert [standing.adapter for standing in ranked(tied)] == ["z", "c", "a", "b"]


def test_rungs_and_report_share_no_example_and_lose_none() -> None:
    task = _task(64)

    rungs, report = split_examples(task, OPTIONS)

    assert ([len(rung) for rung in rungs], len(report)) == ([3, 3, 6, 12], 40)
    assert {e.id for rung in [*rungs, report] for e in rung} == {e.id for e in task.validation}


def test_a_small_validation_set_shrinks_the_rungs_and_keeps_a_report() -> None:
    rungs, report = split_examples(_task(10), OPTIONS)

    assert ([len(rung) for rung in rungs], len(report)) == ([1, 1, 1, 3], 4)


def test_the_order_of_examples_does_not_matter() -> None:
    task = _task(30)
    turned = Task("t", "exact_match", task.validation[::-1])

    assert split_examples(task, OPTIONS) == split_examples(turned, OPTIONS)


def test_planned_evaluations_of_the_demo() -> None:
    assert planned_evaluations(_task(64), 27, OPTIONS) == 27 * 3 + 14 * 3 + 7 * 6 + 4 * 12 + 24 + 2 * 40
