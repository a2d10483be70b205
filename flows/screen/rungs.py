"""What a person sees of a race: a line a rung, evaluations a second, what may remain.

Knows: how far a rung is, how fast, how rungs have shrunk so far. Does not know: what an evaluation is; Prefect
(flows/prefect_runtime/artifacts).
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich.progress import BarColumn, Progress, ProgressColumn, Task, TimeRemainingColumn
from rich.text import Text

from flows.screen.progress import SECONDS, Advance
from flows.screen.screen import Screen, Words
from lorauter.racing.view import RungView

SHRINK = 0.5  # of a rung, where there are no two to tell
LEAST_SHRINK, MOST_SHRINK = 0.2, 0.6

_console = Screen(errors=True)


@contextmanager
def rungs(name: str) -> Iterator[RungView]:
    """The live view of a race; on a terminal a bar a rung, elsewhere a line."""
    began = time.monotonic()
    shown = _Bars(name) if _console.is_terminal else _Lines(name)
    try:
        with shown:
            yield shown
    finally:
        SECONDS[name] = SECONDS.get(name, 0.0) + time.monotonic() - began


def may_remain(sizes: Sequence[int]) -> int:
    """Evaluations that further rungs may take, were they to shrink on as the last two did."""
    if len(sizes) < 2:
        return round(sizes[-1] * SHRINK / (1 - SHRINK)) if sizes else 0
    shrink = min(max(sizes[-1] / sizes[-2], LEAST_SHRINK), MOST_SHRINK)
    return round(sizes[-1] * shrink / (1 - shrink))


class _Rate(ProgressColumn):
    """Evaluations a second."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f"{speed:,.0f}/s" if speed else "")


class _Bars:
    """A bar a rung, on a terminal."""

    def __init__(self, name: str) -> None:
        self._name, self._sizes = name, list[int]()
        columns = (
            Words("{task.description}"),
            BarColumn(8),
            Words("{task.completed:,.0f} of {task.total:,.0f}"),
        )
        times = (_Rate(), TimeRemainingColumn(), Words("{task.fields[rest]}"))
        self._progress = Progress(*columns, *times, console=_console)

    def __enter__(self) -> _Bars:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    @contextmanager
    def rung(self, evaluations: int, who: str) -> Iterator[Advance]:
        """A bar."""
        self._sizes.append(evaluations)
        rest = f"then ~{may_remain(self._sizes):,}"
        label = f"{self._name} {len(self._sizes)}: {who}"
        bar = self._progress.add_task(f"{label:<30}", total=evaluations, rest=rest)
        yield lambda done: self._progress.advance(bar, done)
        self._progress.update(bar, rest="")


class _Lines:
    """A line a rung, where there is no terminal; one every half a minute within a long one."""

    every = 30.0

    def __init__(self, name: str) -> None:
        self._name, self._sizes = name, list[int]()
        self._began = time.monotonic()

    def __enter__(self) -> _Lines:
        return self

    def __exit__(self, *failed: object) -> None:
        if failed == (None, None, None):
            done = f"{sum(self._sizes):,} evaluations in {len(self._sizes)} rungs" if self._sizes else "nothing to do"
            self._say(f"{done}, {time.monotonic() - self._began:.1f} s")

    @contextmanager
    def rung(self, evaluations: int, who: str) -> Iterator[Advance]:
        """A line."""
        self._sizes.append(evaluations)
        began = spoke = time.monotonic()
        done = 0

        def advance(new: int) -> None:
            nonlocal done, spoke
            done += new
            if time.monotonic() - spoke > self.every:
                spoke = time.monotonic()
                self._tell(done, evaluations, who, spoke - began, " …")

        yield advance
        self._tell(done, evaluations, who, time.monotonic() - began, "")

    def _tell(self, done: int, of: int, who: str, seconds: float, more: str) -> None:
        rate = done / max(seconds, 1e-3)
        rest = of - done + may_remain(self._sizes)
        left = f"; about {rest:,} more, {rest / rate:.0f} s" if rest and rate else ""
        self._say(f"rung {len(self._sizes)}: {done:,} of {of:,} ({who}), {seconds:.1f} s, {rate:,.0f}/s{left}{more}")

    def _say(self, text: str) -> None:
        sys.stderr.write(f"{self._name}: {text}\n")  # not print: a flow with log_prints would swallow it
        sys.stderr.flush()
