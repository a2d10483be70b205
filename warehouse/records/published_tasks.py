"""What a snapshot says of how its tasks are asked.

Knows: the columns of the snapshot's `tasks`. Does not know: what is asked.
"""

from __future__ import annotations

from dataclasses import dataclass

from warehouse.snapshots.snapshot import Snapshot


@dataclass(frozen=True, slots=True)
class AskedTask:
    """How a published task is asked.

    Args:
        template: prompt template with {input}.
        majority: the most frequent target of its validation examples.
    """

    template: str
    majority: str


def asked_tasks(snapshot: Snapshot, base: str) -> dict[str, AskedTask]:
    """The tasks of a base by name; examples, and so the majority, may differ by base."""
    rows = (row for row in snapshot.read("tasks") if row["base"] == base)
    return {row["task"]: AskedTask(row["template"], row["majority"]) for row in rows}
