"""Validation inputs in two: those that train, and those that end training.

Knows: that the share is a fit's own, and the same at every run. Does not know: what is trained.
"""

from __future__ import annotations

from catalog.tasks.task import content_hash
from lorauter.routing.task_index import TaskInputs

HELD_OUT = 5
"""One input of so many ends training; at least one of a task that has two."""


def held_out_count(inputs: int) -> int:
    """How many of a task's inputs are held out."""
    return max(1, inputs // HELD_OUT) if inputs > 1 else 0


def held_out_of(inputs: TaskInputs) -> list[bool]:
    """Whether each input is held out, in their order: by content, so that no other input changes it much."""
    by_task: dict[int, list[int]] = {}
    for place, owner in enumerate(inputs.owners.tolist()):
        by_task.setdefault(owner, []).append(place)
    held = [False] * len(inputs.texts)
    for places in by_task.values():
        ordered = sorted(places, key=lambda place: (content_hash(inputs.texts[place], 32), place))
        for place in ordered[: held_out_count(len(places))]:
            held[place] = True
    return held
