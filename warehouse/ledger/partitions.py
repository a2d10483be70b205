"""Hive partitions: tables whose fragments lie in folders `column=value`, by a column that their files then lack.

Knows: which column of which table, how a value becomes a folder's name and back. Does not know: who reads or writes.

    ledger/outputs/base=org%2Fname/<fragment>.parquet

Values are percent-encoded, as pyarrow, DuckDB and polars read them; capitals too, for to some file systems `Org` and
`org` are one folder, and to a hub they are two names. A fragment whose values make no folder's name, or that an older
version wrote, lies in the table's own folder with all its columns: readers take both.
"""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import quote, unquote

import pyarrow as pa
import pyarrow.compute as pc

PARTITIONED = {"verdicts": "base", "rungs": "base", "outputs": "base", "repos": "target", "pages": "target"}
"""Table of the ledger → the column that its readers ask by."""
_CAPITAL = re.compile(r"(?<!%)(?<!%[0-9A-F])[A-Z]")  # but those of `%2F`
_LONGEST = 200  # characters; file systems take names of 255 bytes


def partition_folder(table: str, value: str | None) -> str | None:
    """The folder of the fragments that hold a value; None where it makes no folder's name."""
    encoded = _CAPITAL.sub(lambda capital: f"%{ord(capital[0]):02X}", quote(value or "", safe=""))
    return f"{table}/{PARTITIONED[table]}={encoded}" if 0 < len(encoded) <= _LONGEST else None


def partition_of(path: Path) -> tuple[str, str] | None:
    """The column and value that a fragment's folder stands for; None in a table's own folder."""
    column, equals, encoded = path.parent.name.partition("=")
    return (column, unquote(encoded)) if equals else None


def table_of_path(path: Path) -> str:
    """The table of a fragment's file."""
    return (path.parent.parent if partition_of(path) else path.parent).name


def stored_schema(schema: pa.Schema, path: Path) -> pa.Schema:
    """The columns that a file in the folder of `path` holds."""
    partition = partition_of(path)
    return schema.remove(schema.get_field_index(partition[0])) if partition else schema


def split(table: str, rows: pa.Table) -> dict[str, pa.Table]:
    """Folder → rows, all their columns kept. Rows of a value that makes no folder's name keep the others with them."""
    column = PARTITIONED.get(table)
    if column is None:
        return {table: rows}
    folders = {value: partition_folder(table, value) for value in pc.unique(rows[column]).to_pylist()}
    if None in folders.values():
        return {table: rows}
    return {str(folder): rows.filter(pc.equal(rows[column], value)) for value, folder in folders.items()}
