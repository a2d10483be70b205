"""A clock that moves only where somebody waits for a hub's window, so that a test of minutes takes none."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from catalog.hub.budget import Budget
from catalog.hub.errors import origin
from catalog.hub.session import BUDGETS


class Clock:
    """Time that passes only where somebody waits."""

    def __init__(self) -> None:
        self.now = 0.0
        self.waits: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.now += seconds


def budget(plan: str | None = None) -> tuple[Budget, Clock]:
    """A budget with such a clock."""
    clock = Clock()
    return Budget(plan, clock, clock.sleep), clock


@contextmanager
def time_flies_at(endpoint: str) -> Iterator[Clock]:
    """Within it, whoever asks a hub without a token waits for its windows on this clock."""
    caller = (origin(endpoint), "")
    BUDGETS[caller], clock = budget()
    yield clock
    del BUDGETS[caller]
