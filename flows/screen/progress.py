"""What a person sees while a stage runs: one bar each on a terminal, one line each elsewhere.

Knows: stages, their seconds, how far they are, what they wait for. Does not know: what a stage does.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Protocol

from rich.progress import BarColumn, Progress, TimeElapsedColumn, TimeRemainingColumn

from catalog.hub.budget import Budget
from flows.screen.screen import Screen, Words

Advance = Callable[[int], None]

SECONDS: dict[str, float] = {}
"""Seconds by stage of this process, in the order the stages first ran."""

_console = Screen(errors=True)


@contextmanager
def stage(name: str, total: int | None = None, unit: str = "") -> Iterator[Advance]:
    """Show a stage while it runs; the body calls the yielded function with how much is newly done."""
    began = time.monotonic()
    shown: _Shown = (_Bar if _console.is_terminal else _Lines)(name, total, unit)
    try:
        yield shown.advance
        shown.close()
    finally:
        shown.stop()
        SECONDS[name] = SECONDS.get(name, 0.0) + time.monotonic() - began


def say(text: str) -> None:
    """A line for the person, beside the results on stdout. The text may come from anywhere: see flows/screen."""
    _console.print(text, soft_wrap=True)


@contextmanager
def waits_told(budget: Budget) -> Iterator[None]:
    """Within it, waits for the hub's next window are told to the person, once for all threads that wait."""
    told_until = [datetime.min.replace(tzinfo=UTC)]

    def tell(kind: str, seconds: float) -> None:
        now = datetime.now(UTC)
        if now >= told_until[0]:
            told_until[0] = now + timedelta(seconds=seconds)
            say(f"The hub's window for {kind} requests is spent; going on in {seconds:.0f} s.")

    budget.on_wait = tell
    try:
        yield
    finally:
        budget.on_wait = lambda kind, seconds: None


class _Shown(Protocol):
    def advance(self, done: int) -> None: ...

    def close(self) -> None:
        """The stage ended well."""

    def stop(self) -> None:
        """The stage ended."""


class _Bar:
    """Progress on a terminal."""

    def __init__(self, name: str, total: int | None, unit: str) -> None:
        count = Words("{task.fields[count]}")
        remaining = [TimeRemainingColumn()] if total else []
        self._progress = Progress(
            Words("{task.description}"), BarColumn(), count, TimeElapsedColumn(), *remaining, console=_console
        )
        self._task = self._progress.add_task(f"{name:<10}", total=total, count="")
        self._done, self._total, self._unit = 0, total, unit
        self._progress.start()

    def advance(self, done: int) -> None:
        self._done += done
        self._progress.update(self._task, advance=done, count=_count(self._done, self._total, self._unit))

    def close(self) -> None:
        whole = self._total or self._done or 1
        count = _count(self._done, self._total, self._unit)
        self._progress.update(self._task, total=whole, completed=whole, count=count)

    def stop(self) -> None:
        self._progress.stop()


class _Lines:
    """Progress where there is no terminal: a line every half a minute, and one at the end."""

    every = 30.0

    def __init__(self, name: str, total: int | None, unit: str) -> None:
        self._name, self._total, self._unit = name, total, unit
        self._done = 0
        self._began = self._spoke = time.monotonic()

    def advance(self, done: int) -> None:
        self._done += done
        if time.monotonic() - self._spoke > self.every:
            self._spoke = time.monotonic()
            self._say(f"{self._count()} …")

    def close(self) -> None:
        self._say(f"{self._count()}, {time.monotonic() - self._began:.1f} s")

    def stop(self) -> None:
        """Nothing to put back."""

    def _say(self, text: str) -> None:
        sys.stderr.write(f"{self._name}: {text}\n")  # not print: a flow with log_prints would swallow it
        sys.stderr.flush()

    def _count(self) -> str:
        return _count(self._done, self._total, self._unit)


def _count(done: int, total: int | None, unit: str) -> str:
    """How far a stage is, for people."""
    if not (done or total):
        return "nothing to do" if unit else "done"
    return f"{done:,}{f' of {total:,}' if total else ''} {unit}".strip()
