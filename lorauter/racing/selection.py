"""Which of a task's validation examples choose an adapter, and which report on it. They never overlap.

Knows: the shared order of a task's examples. Does not know: strategies, scores.
"""

from __future__ import annotations

import math

from catalog.tasks.task import Example, Task


def split_examples(task: Task, report: float) -> tuple[list[Example], list[Example]]:
    """Selection examples, and those that score the winner: examples that chose a winner overrate it.

    Examples are taken in the order of their content hashes: a shuffle that a rerun repeats and that no added
    example changes much.

    Args:
        report: least share of the validation set that reports.
    """
    examples = sorted(task.validation, key=lambda e: e.id)
    room = len(examples) - max(1, math.ceil(len(examples) * report))
    return examples[:room], examples[room:]
