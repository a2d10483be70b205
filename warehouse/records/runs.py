"""Rows of the table `runs`: what a run took, in the ledger and beside every later snapshot.

Knows: the columns. Does not know: how they are counted (flows/publish/run_record).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import pyarrow as pa

from warehouse.ledger.ledger import Ledger
from warehouse.records.rows import as_rows
from warehouse.schemas.ledger import RUNS
from warehouse.snapshots.sorted_tables import joined


@dataclass(frozen=True, slots=True)
class RunRow:
    """What a run took until its publish, for one base.

    Args:
        run: hash of its start and its base.
        base: id of the base.
        base_sha: its commit.
        command: refresh, or the stage that was run alone.
        started: when it began.
        seconds: from start to publish.
        listed: repos that the crawl met.
        file_requests: requests for files.
        bytes: of listings, configs, headers and cards.
        spent: evaluations that the strategy asked for.
        new: of them those that had to be made.
        exhaustive: evaluations of every adapter on every example.
        at: when it ended.
    """

    run: str
    base: str
    base_sha: str
    command: str
    started: datetime
    seconds: float
    listed: int
    file_requests: int
    bytes: int
    spent: int
    new: int
    exhaustive: int
    at: datetime


def keep_run(ledger: Ledger, row: RunRow) -> None:
    """Add a run to the ledger."""
    ledger.append("runs", list(as_rows([row])))


def runs_with(ledger: Ledger, row: RunRow) -> pa.Table:
    """All runs of the ledger, and one that it does not hold yet."""
    return joined([ledger.read("runs"), list(as_rows([row]))], RUNS)
