"""What watches a race: told of every rung, and of how far it is.

Knows: the protocol. Does not know: screens.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Protocol

Advance = Callable[[int], None]
"""Told how many evaluations are newly done."""


class RungView(Protocol):
    """Shows rungs as they run."""

    def rung(self, evaluations: int, who: str) -> AbstractContextManager[Advance]:
        """A rung of so many evaluations; `who` says of how many adapters on how many tasks."""
        ...
