"""The pointer to the published snapshot, and the log of where it has pointed.

    snapshots/current          the id of the published one, swapped atomically
    snapshots/swaps.jsonl      {"at", "id", "why"} a line, appended after each swap

Knows: which id was published when. Does not know: what a snapshot holds, whether its folder is still there.

The pointer is the truth. A process that is killed between swap and log leaves a swap that the log lacks. `swaps` adds
it, dated by the pointer's own time of change, and the next swap writes it to the log.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from catalog.errors import SnapshotError
from warehouse.storage.files import sync_folder, write_text

ID = re.compile(r"[0-9a-f]{16}")
PUBLISHED, ROLLED_BACK = "publish", "rollback"
_CURRENT, _LOG = "current", "swaps.jsonl"


@dataclass(frozen=True, slots=True)
class Swap:
    """The pointer was set: when, to which id, and why."""

    at: datetime
    id: str
    why: str


def read_pointer(root: Path) -> str:
    """Id of the published snapshot. Raises SnapshotError where nothing is published, or the pointer is damaged."""
    pointer = root / _CURRENT
    if not pointer.exists():
        raise SnapshotError(f"Nothing is published in {root} yet.", "Run `lorauter refresh` or `lorauter publish`.")
    name = pointer.read_text(encoding="utf-8", errors="replace").strip()
    if not ID.fullmatch(name):
        raise SnapshotError(f"{pointer} names no snapshot.", "Publish again with `lorauter publish`.")
    return name


def is_published(root: Path) -> bool:
    """Whether anything is."""
    return (root / _CURRENT).exists()


def swap(root: Path, snapshot_id: str, why: str) -> None:
    """Point to a snapshot. Nothing happens where it is the published one already."""
    for untold in swaps(root)[len(_logged(root)) :]:
        _log(root, untold)
    if is_published(root) and _read(root) == snapshot_id:
        return
    write_text(root / _CURRENT, snapshot_id + "\n")
    sync_folder(root)
    _log(root, Swap(datetime.now(UTC), snapshot_id, why))


def swaps(root: Path) -> list[Swap]:
    """Every swap, oldest first. Raises SnapshotError for a damaged log."""
    logged = _logged(root)
    current = _read(root) if is_published(root) else None
    if current is None or (logged and logged[-1].id == current):
        return logged
    changed = datetime.fromtimestamp((root / _CURRENT).stat().st_mtime, UTC)
    return [*logged, Swap(changed, current, PUBLISHED)]


def _read(root: Path) -> str | None:
    name = (root / _CURRENT).read_text(encoding="utf-8", errors="replace").strip()
    return name if ID.fullmatch(name) else None


def _logged(root: Path) -> list[Swap]:
    log = root / _LOG
    if not log.exists():
        return []
    logged = []
    for number, line in enumerate(log.read_text(encoding="utf-8").splitlines(), 1):
        try:
            row = json.loads(line)
            logged.append(Swap(datetime.fromisoformat(row["at"]), str(row["id"]), str(row["why"])))
        except (ValueError, KeyError, TypeError) as error:
            raise SnapshotError(f"{log}, line {number} is damaged.", "Delete that line.") from error
    return logged


def _log(root: Path, one: Swap) -> None:
    """Append one line by one write: a reader sees all of it or nothing."""
    line = json.dumps({"at": one.at.isoformat(timespec="microseconds"), "id": one.id, "why": one.why}) + "\n"
    handle = os.open(root / _LOG, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(handle, line.encode("utf-8"))
        os.fsync(handle)
    finally:
        os.close(handle)
