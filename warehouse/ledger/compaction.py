"""Compaction: many small fragments of a ledger's table become one, and no row is lost.

Knows: which fragments are worth it, how one file takes their place, when the old files may go. Does not know: what
rows mean; readers follow warehouse/ledger/compacted.

The new fragment is written whole before anything else happens, and counts at once. A later compaction, a day or more
after, deletes the old files: then no reader can still hold a listing with them. A kill at any moment leaves old files,
new files or both, and always the same rows. Only double files are deleted; rows that later rows replace are kept. Where
a storage tells no times, every file counts as young, and nothing is joined.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from catalog.errors import SnapshotError
from catalog.tasks.task import content_hash
from warehouse.ledger.compacted import KEY, PREFIX, counting, is_compacted, originals_of
from warehouse.ledger.ledger import SUFFIX, Ledger
from warehouse.ledger.partitions import stored_schema, table_of_path
from warehouse.schemas.ledger import LEDGER

GRACE = 24 * 3600.0  # s that old files stay once others count in their place
YOUNG = 3600.0  # s; a fragment that is younger may belong to work that goes on
SMALL = 64 << 20  # B; larger fragments are left alone
LONGEST = 6 * 3600.0  # s; two that ran at once must both be seen before either's old files go
LEAST = 8  # fragments that are worth it
_ROWS = 65_536  # rows of a row group


@dataclass(frozen=True, slots=True)
class Compacted:
    """What was done with a table: fragments joined, the files that they became, their rows, old files deleted."""

    table: str
    joined: int
    made: int
    rows: int
    removed: int


def compact(
    ledger: Ledger,
    table: str,
    *,
    dry_run: bool = False,
    grace: float = GRACE,
    young: float = YOUNG,
    clock: Callable[[], float] = time.time,
) -> Compacted:
    """Compact one table of a ledger.

    Args:
        dry_run: whether only to tell.
        grace: seconds that old files stay once others count in their place.
        young: seconds; a fragment that is younger may belong to work that goes on.
        clock: the time, as files have it.

    Raises SnapshotError where a fragment is damaged: it is named, and nothing was changed.
    """
    how = _How(dry_run, grace, young, clock, began=clock())
    by_folder: dict[str, list[Path]] = {folder: [] for folder in ledger.folders(table)}
    for path in ledger.fragments(table):
        by_folder.setdefault(path.parent.relative_to(ledger.root).as_posix(), []).append(path)
    counts = [_compact(ledger, folder, current, how) for folder, current in by_folder.items()]
    return Compacted(table, *(sum(of_folders) for of_folders in zip(*counts, strict=True)))


@dataclass(frozen=True, slots=True)
class _How:
    """How to compact: `compact`'s arguments, and when it began."""

    dry_run: bool
    grace: float
    young: float
    clock: Callable[[], float]
    began: float


def _compact(ledger: Ledger, folder: str, current: Sequence[Path], how: _How) -> tuple[int, int, int, int]:
    """Compact one folder, whose fragments that count are `current`. Returns the counts of `Compacted`."""
    files = ledger.storage.sub(folder)
    stamps = {Path(name).stem: stamp for name, stamp in files.stamps().items()}
    ages = {name: stamp.age(how.began) for name, stamp in stamps.items()}
    removed = _remove_old(ledger, folder, ages, how)
    small = [
        path
        for path in current
        if path.stem in stamps and stamps[path.stem].size < SMALL and ages[path.stem] >= how.young
    ]
    if len(small) < LEAST:
        return 0, 0, 0, removed
    names = frozenset().union(*(originals_of(path) if is_compacted(path.stem) else {path.stem} for path in small))
    rows = sum(int(pq.read_metadata(path).num_rows) for path in small)
    if not how.dry_run:
        file = f"{PREFIX}{content_hash(sorted(names), 24)}{SUFFIX}"

        def join(part: Path) -> None:
            _join(ledger, small, stored_schema(LEDGER[table_of_path(small[0])], small[0]), sorted(names), part)
            if how.clock() - how.began > LONGEST:
                raise SnapshotError(
                    f"Compacting {folder} took too long to be safe.",
                    "Nothing was changed; run `lorauter compact` again.",
                )

        if not files.present([file]):
            files.put(file, join)
    return len(small), 1, rows, removed


def _remove_old(ledger: Ledger, folder: str, ages: dict[str, float], how: _How) -> int:
    """Delete what counts no longer, where what took its place has been there for the grace."""
    files = ledger.storage.sub(folder)
    made = {path.stem: originals_of(path) for path in ledger.paths_in(folder) if is_compacted(path.stem)}
    kept = counting(made)
    settled = [names for name, names in kept.items() if ages.get(name, 0.0) >= how.grace]
    covered = frozenset().union(*settled)
    doubles = {name for name in made.keys() - kept.keys() if made[name] <= covered and ages.get(name, 0.0) >= how.grace}
    going = sorted((covered | doubles) & ages.keys())
    for name in [] if how.dry_run else going:
        files.delete(f"{name}{SUFFIX}")
    return len(going)


def _join(ledger: Ledger, paths: Sequence[Path], schema: pa.Schema, names: Sequence[str], part: Path) -> None:
    """All rows in the order of the fragments, one row group in memory; columns that old ones lack are null."""
    told = schema.with_metadata({**(schema.metadata or {}), KEY: json.dumps(list(names)).encode("utf-8")})
    held: list[pa.Table] = []
    waiting = 0
    with pq.ParquetWriter(part, told, compression="zstd", write_page_checksum=True) as writer:
        for path in paths:
            held.append(ledger.read_fragment(path, schema))
            waiting += held[-1].num_rows
            if waiting >= _ROWS:
                writer.write_table(pa.concat_tables(held).cast(told))
                held, waiting = [], 0
        if held:
            writer.write_table(pa.concat_tables(held).cast(told))
