"""What a person sees while a stage runs: one bar each on a terminal, one line each elsewhere.

Knows: stages, their seconds, how far they are. Does not know: what a stage does.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

Advance = Callable[[int], None]

SECONDS: dict[str, float] = {}
"""Seconds by stage of this process, in the order the stages first ran."""

_console = Console(stderr=True)


@contextmanager
def stage(name: str, total: int | None = None, unit: str = "") -> Iterator[Advance]:
    """Show a stage while it runs; the body calls the yielded function with how much is newly done."""
    began = time.monotonic()
    try:
        if _console.is_terminal:
            with _bar() as progress:
                task = progress.add_task(f"{name:<10}", total=total, unit=unit)
                yield lambda done: progress.advance(task, done)
        else:
            done_so_far = _Lines(name, total, unit)
            yield done_so_far.advance
            done_so_far.close(time.monotonic() - began)
    finally:
        SECONDS[name] = SECONDS.get(name, 0.0) + time.monotonic() - began


def say(text: str) -> None:
    """A line for the person, beside the results on stdout."""
    _console.print(text, highlight=False, soft_wrap=True)


def _bar() -> Progress:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[unit]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=_console)


class _Lines:
    """Progress where there is no terminal: a line every half a minute, and one at the end."""

    every = 30.0

    def __init__(self, name: str, total: int | None, unit: str) -> None:
        self._name, self._total, self._unit = name, total, unit
        self._done, self._spoke = 0, time.monotonic()

    def advance(self, done: int) -> None:
        self._done += done
        if time.monotonic() - self._spoke > self.every:
            self._spoke = time.monotonic()
            self._say(f"{self._count()} …")

    def close(self, seconds: float) -> None:
        self._say(f"{self._count()}, {seconds:.1f} s")

    def _say(self, text: str) -> None:
        sys.stderr.write(f"{self._name}: {text}\n")  # not print: a flow with log_prints would swallow it
        sys.stderr.flush()

    def _count(self) -> str:
        if not (self._done or self._total):
            return "nothing to do" if self._unit else "done"
        return f"{self._done}{f'/{self._total}' if self._total else ''} {self._unit}".strip()
