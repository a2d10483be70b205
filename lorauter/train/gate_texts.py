"""Texts that train a gate: examples of tasks with a published adapter, in those that train and those that end training.

Knows: which splits are read, how many of a task. Does not know: how gates are trained.

A task's training split comes first; where it has none, or few, its validation examples follow. One validation example
of five is held out, of every task that has two. Test splits are not there to be read (lorauter/train/fit).
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from catalog.errors import SettingError
from catalog.tasks.task import Example, Task
from lorauter.routing.task_index import TaskIndex
from lorauter.train.adapters import batches_by_length, tokenised
from lorauter.train.fit import FitParts
from lorauter.train.split_inputs import held_out_count

if TYPE_CHECKING:
    import torch

    from lorauter.train.token_batches import Row

LOG = logging.getLogger(__name__)
MOST_TOKENS = 512
"""Of a prompt, which then keeps its end."""


@dataclass(frozen=True, slots=True, eq=False)
class GateText:
    """One example of a task.

    Args:
        task: its task's place in the index.
        input: the query.
        row: its tokens.
    """

    task: int
    input: str
    row: Row


@dataclass(frozen=True, slots=True)
class GateTexts:
    """All texts of a fit.

    Args:
        train: those that train.
        held: those that end training.
    """

    train: tuple[GateText, ...]
    held: tuple[GateText, ...]

    @property
    def facts(self) -> dict[str, int]:
        """How many, for a state's facts."""
        return {"trained_on": len(self.train), "held_out": len(self.held)}

    def of(self, task: int) -> GateTexts:
        """Those of one task."""
        return GateTexts(
            tuple(text for text in self.train if text.task == task),
            tuple(text for text in self.held if text.task == task),
        )


def published(index: TaskIndex, doras: frozenset[str]) -> tuple[str, ...]:
    """The adapters that tasks publish, sorted, without DoRAs: what gates are trained on."""
    return tuple(key for key in index.adapters if key not in doras)


def gate_texts(parts: FitParts, tokenizer: Any, most_train: int, most_held: int) -> GateTexts:
    """Texts of all tasks whose published adapter a gate can weigh.

    Args:
        parts: of the fit.
        tokenizer: the base's.
        most_train: of a task.
        most_held: of a task.

    Raises:
        SettingError: no task publishes an adapter that a gate can weigh.
    """
    usable = set(published(parts.index, parts.doras))
    tasks = [place for place, best in enumerate(parts.index.best) if best in usable]
    if not tasks:
        raise SettingError(
            "No task publishes an adapter that a gate can weigh.", "Let tasks have scores first: lorauter refresh."
        )
    bare = [parts.tasks[place].name for place in tasks if not parts.tasks[place].train]
    if bare:
        LOG.info("%d of %d tasks have no training split: validation examples train the gate.", len(bare), len(tasks))
    train: list[GateText] = []
    held: list[GateText] = []
    for place in tasks:
        task = parts.tasks[place]
        seen, kept = _split(task)
        train += _texts(place, task, seen[:most_train], tokenizer)
        held += _texts(place, task, kept[:most_held], tokenizer)
    return GateTexts(tuple(train), tuple(held))


def _split(task: Task) -> tuple[list[Example], list[Example]]:
    """Examples that train, and validation examples that do not, chosen by content."""
    ordered = sorted(task.validation, key=lambda example: example.id)
    held = ordered[: held_out_count(len(ordered))]
    return [*task.train, *(example for example in task.validation if example not in held)], held


def _texts(place: int, task: Task, examples: Sequence[Example], tokenizer: Any) -> list[GateText]:
    rows = tokenised(task, examples, tokenizer)
    return [
        GateText(place, example.input, (prompt[-MOST_TOKENS:], completion))
        for example, (prompt, completion) in zip(examples, rows, strict=True)
    ]


def drawn(texts: Sequence[GateText], size: int, generator: torch.Generator) -> list[GateText]:
    """A batch that trains, of all tasks: texts of one length would often be of one task, and pull all gates to it."""
    import torch

    return [texts[place] for place in torch.randint(len(texts), (size,), generator=generator).tolist()]


def by_length(texts: Sequence[GateText], size: int) -> list[list[GateText]]:
    """Batches of texts of similar length."""
    return batches_by_length(texts, size, lambda text: text.row)
