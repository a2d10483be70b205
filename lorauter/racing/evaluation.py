"""One evaluation: what a race asks for.

Knows: who is asked what, in which format. Does not know: how the answer is made (flows/score), races.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from catalog.formats.filled import FilledFormat
from catalog.tasks.answer import Failed
from catalog.tasks.task import Example, Task
from lorauter.racing.view import Advance

BASE = ""  # the base's key: an adapter that changes nothing


@dataclass(frozen=True, slots=True)
class Evaluation:
    """One adapter (BASE: none) on one example, asked in a format (None: the task's own)."""

    task: Task
    adapter: str
    example: Example
    format: FilledFormat | None = None

    @property
    def prompt(self) -> str:
        """What is asked."""
        text = self.example.input
        return self.task.prompt(text) if self.format is None else self.format.prompt(text)

    @property
    def identity(self) -> tuple[str, str, str, str | None]:
        """What tells two evaluations of a run apart."""
        return self.task.name, self.adapter, self.example.id, self.format.name if self.format else None


Evaluate = Callable[[Sequence[Evaluation], Advance], list[float | Failed]]
"""(evaluations, told how many are newly done) → the metric of each, or why there is none."""
