"""Work under conditions that differ from row to row, as the stops of prompt formats do.

Knows: that a plan holds one kind of conditions. Does not know: how answers are made.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from catalog.tasks.answer import Answer
from warehouse.plans.plan import Conditions, Work

Make = Callable[[Sequence[Work], Conditions, Callable[[int], None]], tuple[list[Answer], int]]
"""(work, conditions, told how far it is): the answers of the work, in its order, and how many of them are new."""


def make_each(
    make: Make, work: Sequence[Work], conditions: Sequence[Conditions], advance: Callable[[int], None]
) -> tuple[list[Answer], int]:
    """The answers of work, in its order, and how many are new.

    Args:
        conditions: one a row of work.
    """
    rows: dict[Conditions, list[int]] = {}
    for number, one in enumerate(conditions):
        rows.setdefault(one, []).append(number)
    answers: dict[int, Answer] = {}
    new = 0
    for alike, numbers in rows.items():
        made, made_now = make([work[number] for number in numbers], alike, advance)
        answers |= zip(numbers, made, strict=True)
        new += made_now
    return [answers[number] for number in range(len(work))], new
