"""The history of a home's snapshots: which there are, which was published when, going back, making room.

Knows: ids, dates and the pointer's log. Does not know: how snapshots are made (warehouse/snapshots).
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from catalog.errors import SettingError, SnapshotError
from warehouse.snapshots.manifest import MANIFEST, read_manifest, verify
from warehouse.snapshots.pointer import ID, ROLLED_BACK, Swap, is_published, read_pointer, swap, swaps
from warehouse.snapshots.snapshot import Snapshot, open_snapshot

GRACE = timedelta(hours=1)
"""A snapshot that was published within it is not pruned: who opened it may still be reading."""
_LEAST_PREFIX = 4


@dataclass(frozen=True, slots=True)
class Kept:
    """A snapshot as it lies there, unverified. `problem`: why its manifest cannot be read."""

    id: str
    folder: Path
    created: str
    current: bool
    size: int
    problem: str | None = None


def kept(root: Path) -> list[Kept]:
    """All snapshots under a root, oldest first. `size`: bytes of the files."""
    current = read_pointer(root) if is_published(root) else None
    snapshots = [_kept(folder, folder.name == current) for folder in _folders(root)]
    return sorted(snapshots, key=lambda one: (one.created, one.id))


def resolve(root: Path, which: str | Path | None) -> Path:
    """The folder of a snapshot.

    Args:
        which: a folder; `current` or None; an id or the beginning of one (4 signs or more); a day (2026-11-22) or a
            time (2026-11-22T14:00, in UTC unless it says otherwise): what was published then, of a day at its end.

    Raises SettingError where it means none or several. SnapshotError: nothing is published.
    """
    name = str(which or "current")
    if name == "current":
        return root / read_pointer(root)
    if (Path(name) / MANIFEST).is_file():
        return Path(name)
    moment = _moment(name)
    if moment is not None:
        return _at(root, moment, name)
    ids = sorted(one.name for one in _folders(root) if len(name) >= _LEAST_PREFIX and one.name.startswith(name))
    if len(ids) != 1:
        said = f"begins several snapshots: {', '.join(ids)}" if ids else "is no snapshot here"
        raise SettingError(f"{name} {said}.", "See: lorauter snapshots list.")
    return root / ids[0]


def rollback(root: Path, which: str) -> Snapshot:
    """Publish an earlier snapshot again; it is verified whole first. Returns it."""
    folder = resolve(root, which)
    if folder.parent.resolve() != root.resolve():
        raise SettingError(f"{folder} lies elsewhere.", f"Name a snapshot in {root}.")
    verify(folder)
    snapshot = open_snapshot(folder)
    swap(root, snapshot.id, ROLLED_BACK)
    return snapshot


def spare(root: Path, keep: int | None = None, days: float | None = None, now: datetime | None = None) -> list[Kept]:
    """The snapshots that may be deleted, oldest first; never the current one, nor one of the last hour.

    Args:
        root: the folder of all snapshots.
        keep: how many of those published last stay.
        days: those that were published within so many days stay.
        now: the time, for tests.
    """
    now = now or datetime.now(UTC)
    log = swaps(root)
    stay = {one.id for one in log if _end(log, one, now) > now - max(GRACE, timedelta(days=days or 0))}
    latest = list(dict.fromkeys(one.id for one in reversed(log)))
    stay |= set(latest if keep is None and days is None else latest[: max(keep or 0, 1)])
    return [one for one in kept(root) if not one.current and one.id not in stay]


def remove(snapshot: Kept) -> None:
    """Delete a snapshot. Its manifest goes first: what is left of a killed removal is no snapshot."""
    (snapshot.folder / MANIFEST).unlink(missing_ok=True)
    shutil.rmtree(snapshot.folder)


def _folders(root: Path) -> list[Path]:
    return [folder for folder in root.glob("*/") if ID.fullmatch(folder.name)]


def size_of(folder: Path) -> int:
    """Bytes of all files of a snapshot."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _kept(folder: Path, current: bool) -> Kept:
    size = size_of(folder)
    try:
        manifest = read_manifest(folder)
    except SnapshotError as error:
        return Kept(folder.name, folder, "", current, size, error.cause)
    return Kept(folder.name, folder, manifest["created"], current, size)


def _end(log: Sequence[Swap], one: Swap, now: datetime) -> datetime:
    """When another snapshot took its place."""
    later = [other.at for other in log if other.at > one.at]
    return min(later) if later else now


def _at(root: Path, moment: datetime, name: str) -> Path:
    before = [one for one in swaps(root) if one.at <= moment]
    if not before:
        raise SettingError(f"Nothing was published at {name} yet.", "See: lorauter snapshots list.")
    folder = root / before[-1].id
    if not (folder / MANIFEST).is_file():
        raise SettingError(f"What was published at {name}, {folder.name}, has been removed.", "Name a later time.")
    return folder


def _moment(text: str) -> datetime | None:
    """A day's end, or a time; None for what is neither."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    if "-" not in text:  # 2026 and 20261122 may begin ids
        return None
    moment = moment + timedelta(days=1, microseconds=-1) if len(text) == len("2026-11-22") else moment
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
