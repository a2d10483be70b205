"""The ledger: append-only Parquet fragments, one folder a table. Everything ever seen, in the order it came.

Knows: fragments with content-derived names, the current row of a key. Does not know: what rows mean.

A fragment is whole or absent and never changes, so any number of processes may append and read at once, and
a killed one leaves nothing half-written. Where rows have a time (`at`), the latest row of a key is current.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from catalog.errors import SnapshotError
from catalog.task import content_hash
from warehouse.files import read_table, write_table
from warehouse.schemas import KEYS, LEDGER, table_of

Row = Mapping[str, Any]


class Ledger:
    """Append-only tables under one folder."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def append(self, table: str, rows: Sequence[Row], name: str | None = None) -> None:
        """Add rows as one fragment. The name is a hash of the rows unless given; a name that exists is kept."""
        if not rows:
            return
        arrow = table_of(rows, LEDGER[table])
        path = self._path(table, name or _fragment_name(arrow))
        if not path.exists():
            write_table(path, arrow)

    def changes(self, table: str) -> Changes:
        """A writer that adds only rows that differ from the current row of their key."""
        return Changes(self, table)

    def has(self, table: str, name: str) -> bool:
        """Whether a fragment of that name exists."""
        return self._path(table, name).exists()

    def has_any(self, table: str, prefix: str) -> bool:
        """Whether a fragment exists whose name starts so."""
        return any((self.root / table).glob(f"{prefix}*.parquet"))

    def read(self, table: str, columns: Sequence[str] | None = None) -> pa.Table:
        """All rows of a table, fragments in name order; no fragment gives an empty table."""
        schema = LEDGER[table]
        wanted = pa.schema([schema.field(c) for c in columns]) if columns else schema
        parts = [self._read_fragment(path, wanted) for path in self.fragments(table)]
        return pa.concat_tables(parts) if parts else wanted.empty_table()

    def current(self, table: str) -> list[dict[str, Any]]:
        """The latest row of every key."""
        rows = self.read(table).to_pylist()
        if rows and "at" in rows[0]:
            rows.sort(key=lambda row: row["at"])
        return list({_key(table, row): row for row in rows}.values())

    def fragments(self, table: str) -> list[Path]:
        """The fragment files of a table, by name."""
        return sorted((self.root / table).glob("*.parquet"))

    def _read_fragment(self, path: Path, schema: pa.Schema) -> pa.Table:
        try:
            return read_table(path, schema.names).cast(schema)
        except (pa.ArrowException, ValueError) as error:
            raise SnapshotError(
                f"The ledger fragment {path} is damaged: {str(error)[:300]}.",
                "Delete that file; the next refresh makes its rows anew.",
            ) from error

    def _path(self, table: str, name: str) -> Path:
        return self.root / table / f"{name}.parquet"


class Changes:
    """Adds to a table what is new or different, stamped with the time."""

    def __init__(self, ledger: Ledger, table: str) -> None:
        self._ledger, self._table = ledger, table
        self._current = {_key(table, row): _fingerprint(row) for row in ledger.current(table)}

    def append(self, rows: Iterable[Row]) -> int:
        """Write the rows that differ from what is current as one fragment. Returns how many there were."""
        as_stored = table_of(rows, LEDGER[self._table]).to_pylist()
        changed = {}
        for row in as_stored:
            key, content = _key(self._table, row), _fingerprint(row)
            if self._current.get(key) != content:
                self._current[key] = content
                changed[key] = {**row, "at": datetime.now(UTC)}
        self._ledger.append(self._table, list(changed.values()))
        return len(changed)


def _key(table: str, row: Row) -> tuple[Any, ...]:
    return tuple(row[column] for column in KEYS[table])


def _fingerprint(row: Row) -> str:
    """Hash of a stored row but its time: small to keep, and NaN equals NaN."""
    return content_hash([repr(value) for name, value in row.items() if name != "at"], 32)


def _fragment_name(table: pa.Table) -> str:
    digest = hashlib.sha256()
    for batch in table.combine_chunks().to_batches():
        digest.update(content_hash([str(row) for row in batch.to_pylist()], 64).encode())
    return digest.hexdigest()[:24]
