"""What skills learn from: which examples of which split, as rows of tokens, in batches.

Knows: splits, shuffles, lengths. Does not know: models, losses.

Test examples are never read. A task without training examples trains on what of its validation set is not watched.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from catalog.errors import SettingError
from catalog.tasks.task import Example, Task
from lorauter.train.adapters import batches_by_length, tokenised

if TYPE_CHECKING:
    from lorauter.train.token_batches import Row

POOLED = 8  # batches that are sorted by length together: little padding, and still tasks mix
Source = Literal["train", "validation"]


@dataclass(frozen=True, slots=True)
class TaskRow:
    """Tokens of one example, and its task as its place among the tasks."""

    tokens: Row
    task: int


@dataclass(frozen=True, slots=True)
class Split:
    """One task's examples.

    Args:
        train: learned from.
        watched: of the validation set; they stop the training and teach nothing.
        source: the split that `train` comes from.
    """

    train: tuple[Example, ...]
    watched: tuple[Example, ...]
    source: Source


def split_task(task: Task, watch: float, examples: int | None, seed: int) -> Split:
    """Parts a task for training.

    Args:
        watch: share of the validation set that is watched, taken in the order of content hashes.
        examples: at most so many to learn from, drawn; None takes all.

    Raises:
        SettingError: nothing is left to learn from.
    """
    ordered = sorted(task.validation, key=lambda example: example.id)
    cut = math.ceil(len(ordered) * watch)
    source: Source = "train" if task.train else "validation"
    learned = list(task.train or ordered[cut:])
    random.Random(f"{seed}:{task.name}").shuffle(learned)
    if not learned:
        raise SettingError(
            f"The task {task.name} has no training examples, and all of its validation set is watched.",
            "Add training examples, or watch a smaller share.",
        )
    return Split(tuple(learned[:examples]), tuple(ordered[:cut]), source)


def task_rows(tasks: Sequence[Task], examples: Sequence[Sequence[Example]], tokenizer: Any) -> list[TaskRow]:
    """Rows of each task's examples, task by task."""
    return [
        TaskRow(tokens, place)
        for place, (task, chosen) in enumerate(zip(tasks, examples, strict=True))
        for tokens in tokenised(task, chosen, tokenizer)
    ]


def mixed_batches(rows: Sequence[TaskRow], size: int, seed: str) -> list[list[TaskRow]]:
    """An epoch: rows shuffled, then sorted by length within pools of a few batches, then the batches shuffled."""
    rng = random.Random(seed)
    shuffled = rng.sample(rows, len(rows))
    pools = [shuffled[start : start + POOLED * size] for start in range(0, len(shuffled), POOLED * size)]
    batches = [batch for pool in pools for batch in even_batches(pool, size)]
    return rng.sample(batches, len(batches))


def even_batches(rows: Sequence[TaskRow], size: int) -> list[list[TaskRow]]:
    """Batches of rows of similar length."""
    return batches_by_length(rows, size, lambda row: row.tokens)
