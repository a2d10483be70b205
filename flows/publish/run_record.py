"""What a run took, for the ledger's table `runs` and every later snapshot.

Knows: time, requests and evaluations between its start and its publish. Does not know: stages.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime

from catalog.bases.base import Base
from catalog.hub.session import COUNT
from catalog.tasks.task import content_hash
from flows.score.score import Scores
from warehouse.records.runs import RunRow


@dataclass(frozen=True, slots=True)
class Run:
    """A run that has begun, and what this process had counted by then.

    Args:
        command: refresh, or the stage that runs alone.
        started: when it began.
        clock: the same by a clock that is never set.
        files: requests for files until then.
        bytes: of all requests until then.
        listed: repos that it met.
    """

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

    def row(self, base: Base, scores: Scores) -> RunRow:
        """What it took until now, for one base."""
        return RunRow(
            run=content_hash([self.started.isoformat(), base.id, base.sha]),
            base=base.id,
            base_sha=base.sha,
            command=self.command,
            started=self.started,
            seconds=time.monotonic() - self.clock,
            listed=self.listed,
            file_requests=COUNT.file - self.files,
            bytes=COUNT.bytes - self.bytes,
            spent=scores.spent,
            new=scores.new,
            exhaustive=scores.exhaustive,
            at=datetime.now(UTC),
        )
