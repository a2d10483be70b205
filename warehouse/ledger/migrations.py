"""Numbered migrations: what brings a ledger that an older version wrote to today's layout.

    format.json      {"format": 1, "migrated": [{"number": 1, "about": "…", "at": "…"}]}, beside the ledger's folder

Knows: the numbers, how each is recorded once it is whole. Does not know: who asks (flows/cli/upgrade).

Readers read old layouts as they are: a migration makes a ledger quicker, and no ledger needs one to be read. Only a
ledger of a newer version is refused. A migration that was killed can be run again, with the same result. Numbers are
never used twice.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from catalog.errors import SnapshotError
from warehouse.ledger.compacted import KEY, current_paths, is_compacted, originals_of
from warehouse.ledger.ledger import SUFFIX, Ledger
from warehouse.ledger.partitions import PARTITIONED, split, stored_schema
from warehouse.schemas.ledger import LEDGER
from warehouse.storage.files import table_writer, write_text
from warehouse.storage.storage import Storage

FILE = "format.json"


@dataclass(frozen=True, slots=True)
class Migration:
    """A change of the layout: its number, what it does, and how; `run` returns how many files it moved."""

    number: int
    about: str
    run: Callable[[Ledger], int]


def read_format(storage: Storage) -> int:
    """Number of the last migration that a storage went through. Raises SnapshotError if its record is damaged."""
    return int(_record(storage)["format"])


def check_format(storage: Storage) -> None:
    """Raises SnapshotError where a newer version wrote it: what we do not know we might break."""
    number = read_format(storage)
    if number > NEWEST:
        raise SnapshotError(
            f"{storage.address(FILE)} is of format {number}, and this version knows formats up to {NEWEST}.",
            "Install the newer version, on every machine that shares it.",
        )


def begin(storage: Storage) -> None:
    """Record that a storage without a ledger is of today's format."""
    if not storage.present([FILE]) and not storage.folders("ledger"):
        _put(storage, {"format": NEWEST, "migrated": []})


def pending(storage: Storage) -> list[Migration]:
    """The migrations that a storage has not gone through, in order; one without a ledger needs none."""
    if not storage.present([FILE]) and not storage.folders("ledger"):
        return []
    done = read_format(storage)
    return [migration for migration in MIGRATIONS if migration.number > done]


def migrate(storage: Storage, migration: Migration) -> int:
    """Run one migration and record it. Nobody else may work on that storage meanwhile. Returns how many files moved."""
    moved = migration.run(Ledger(storage.sub("ledger")))
    record = _record(storage)
    told = {"number": migration.number, "about": migration.about, "at": datetime.now(UTC).isoformat(timespec="seconds")}
    _put(storage, {"format": migration.number, "migrated": [*record["migrated"], told]})
    return moved


def _record(storage: Storage) -> dict[str, Any]:
    try:
        record = json.loads(storage.local(FILE).read_text("utf-8"))
        return {"format": int(record["format"]), "migrated": list(record["migrated"])}
    except FileNotFoundError:
        return {"format": 0, "migrated": []}
    except (ValueError, TypeError, LookupError) as error:
        raise SnapshotError(
            f"{storage.address(FILE)} is damaged: {str(error)[:100]}.", "Delete it; lorauter upgrade writes it anew."
        ) from error


def _put(storage: Storage, record: dict[str, Any]) -> None:
    storage.put(FILE, lambda part: write_text(part, json.dumps(record, indent=1) + "\n"))


def _into_partitions(ledger: Ledger) -> int:
    """Move the fragments of partitioned tables from the table's folder into its partitions.

    A fragment counts where it was until its copies are all there and it is deleted (Ledger.fragments).
    """
    moved = 0
    for table in PARTITIONED:
        listed = ledger.paths_in(table)
        counting = current_paths(listed)
        for path in sorted(set(listed) - set(counting)):
            ledger.storage.delete(f"{table}/{path.name}")  # a compacted one has its rows
        moved += sum(_move(ledger, table, path) for path in counting)
    return moved


def _move(ledger: Ledger, table: str, path: Path) -> bool:
    parts = split(table, ledger.read_fragment(path, LEDGER[table]))
    if table in parts:
        return False  # a value of it makes no folder's name
    for folder, rows in parts.items():
        file = f"{folder}/{path.stem}{SUFFIX}"
        if not ledger.storage.present([file]):
            ledger.storage.put(file, table_writer(_as_stored(rows, Path(file), path)))
    ledger.storage.delete(f"{table}/{path.name}")
    return True


def _as_stored(rows: pa.Table, file: Path, was: Path) -> pa.Table:
    """Rows as they lie in their partition; a compacted fragment's still say whose they are."""
    table = rows.select(stored_schema(rows.schema, file).names)
    if not is_compacted(was.stem):
        return table
    return table.replace_schema_metadata({**(table.schema.metadata or {}), KEY: json.dumps(sorted(originals_of(was)))})


MIGRATIONS = (Migration(1, "fragments of the ledger into folders by base and target", _into_partitions),)
NEWEST = MIGRATIONS[-1].number
