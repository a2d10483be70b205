"""What a run took, as a row of the ledger's table `runs` and of every later snapshot.

Knows: time, requests and evaluations between its start and its publish. Does not know: stages.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from catalog.bases.base import Base
from catalog.hub.session import COUNT
from catalog.tasks.task import content_hash
from flows.score.score import Scores


@dataclass(frozen=True, slots=True)
class Run:
    """A run that has begun: its command, and what this process had counted by then. `listed`: repos that it met."""

    command: str
    started: datetime
    clock: float
    files: int
    bytes: int
    listed: int = 0

    @classmethod
    def begin(cls, command: str) -> Run:
        """Now."""
        return cls(command, datetime.now(UTC), time.monotonic(), COUNT.file, COUNT.bytes)

    def row(self, base: Base, scores: Scores) -> dict[str, Any]:
        """What it took until now, for one base."""
        return {
            "run": content_hash([self.started.isoformat(), base.id, base.sha]),
            "base": base.id,
            "base_sha": base.sha,
            "command": self.command,
            "started": self.started,
            "seconds": time.monotonic() - self.clock,
            "listed": self.listed,
            "file_requests": COUNT.file - self.files,
            "bytes": COUNT.bytes - self.bytes,
            "spent": scores.spent,
            "new": scores.new,
            "exhaustive": scores.exhaustive,
            "at": datetime.now(UTC),
        }
