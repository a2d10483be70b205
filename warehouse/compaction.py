"""Compaction: many small fragments of a ledger's table become one, and no row is lost.

Knows: which fragments are worth it, how one file takes their place, when the old files may go. Does not know: what
rows mean; readers follow warehouse/compacted.

The new fragment is there whole before anything else happens, and counts at once. The old files go a day later, by a
later compaction, when no reader can still hold a listing with them. A kill at any moment leaves old files, new ones or
both, and the same rows. Nothing is dropped but the double files: rows that later ones outdate are kept.
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
from catalog.task import content_hash
from warehouse.compacted import KEY, PREFIX, counting, is_compacted, originals_of
from warehouse.ledger import SUFFIX, Ledger
from warehouse.schemas import LEDGER

GRACE = 24 * 3600.0  # s that old files stay once others count in their place
YOUNG = 3600.0  # s; a fragment that is younger may belong to work that goes on
SMALL = 64 << 20  # B; larger fragments are left alone
LONGEST = 6 * 3600.0  # s; two that ran at once must both be seen before either's old files go
LEAST = 8  # fragments that are worth it
_ROWS = 65_536  # rows of a row group


@dataclass(frozen=True, slots=True)
class Compacted:
    """What was done with a table: fragments that became one, and old files deleted."""

    table: str
    joined: int
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
        dry_run: whether only to tell. grace, young: seconds, see GRACE and YOUNG. clock: the time, as files have it.

    Raises SnapshotError where a fragment is damaged: it is named, and nothing was changed.
    """
    began = clock()
    files = ledger.storage.sub(table)
    stamps = {Path(name).stem: stamp for name, stamp in files.stamps().items()}
    ages = {name: began - changed / 1e9 for name, (_, changed) in stamps.items()}
    removed = _remove_old(ledger, table, ages, grace, dry_run)
    small = [
        path
        for path in ledger.fragments(table)
        if path.stem in stamps and stamps[path.stem][0] < SMALL and ages[path.stem] >= young
    ]
    if len(small) < LEAST:
        return Compacted(table, 0, 0, removed)
    names = frozenset().union(*(originals_of(path) if is_compacted(path.stem) else {path.stem} for path in small))
    rows = sum(int(pq.read_metadata(path).num_rows) for path in small)
    if not dry_run:
        file = f"{PREFIX}{content_hash(sorted(names), 24)}{SUFFIX}"

        def join(part: Path) -> None:
            _join(ledger, small, LEDGER[table], sorted(names), part)
            if clock() - began > LONGEST:
                raise SnapshotError(f"Compacting {table} took too long to be safe.", "Nothing was changed; try again.")

        if not files.present([file]):
            files.put(file, join)
    return Compacted(table, len(small), rows, removed)


def _remove_old(ledger: Ledger, table: str, ages: dict[str, float], grace: float, dry_run: bool) -> int:
    """Delete what counts no longer, where what took its place has been there for the grace."""
    files = ledger.storage.sub(table)
    made = {path.stem: originals_of(path) for path in ledger.paths(table) if is_compacted(path.stem)}
    kept = counting(made)
    settled = [names for name, names in kept.items() if ages.get(name, 0.0) >= grace]
    covered = frozenset().union(*settled)
    doubles = {name for name in made.keys() - kept.keys() if made[name] <= covered and ages.get(name, 0.0) >= grace}
    going = sorted((covered | doubles) & ages.keys())
    for name in [] if dry_run else going:
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
