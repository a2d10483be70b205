"""Tables of a snapshot as files: sorted by their keys, whatever their size, and laid out for look-ups.

Knows: the order of rows and the bytes of a file, which depend on the rows alone; that memory is bounded: DuckDB sorts,
and spills to disk what does not fit. Does not know: which tables there are.

Row groups are small, and the keys of adapters have bloom filters, so that a question about one task or one adapter
reads a few of many groups. Sorted keys are stored as what each adds to the one before.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import duckdb
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from warehouse.schemas.columns import table_of
from warehouse.storage.files import write_atomically

Rows = Sequence[Mapping[str, Any]]
Stored: TypeAlias = pa.Table | ds.Dataset
"""What Arrow holds already: in memory, or in files that are read a part at a time."""
Part: TypeAlias = Rows | pa.Table
"""Some rows of a table that is put together from parts."""
GROUP = 32_768  # rows of a row group
_LOOKED_UP = "adapter"  # the column that people ask for by value
_MEMORY = "1GB"  # that sorting may take before it spills


def open_sorter(spill: Path) -> duckdb.DuckDBPyConnection:
    """A DuckDB in memory that spills into a folder, which the caller removes."""
    return duckdb.connect(config={"memory_limit": _MEMORY, "temp_directory": str(spill)})


def write_sorted(
    sorter: duckdb.DuckDBPyConnection, path: Path, rows: Rows | Stored, schema: pa.Schema, keys: Sequence[str]
) -> None:
    """Write rows under a schema in the order of their keys, atomically. Equal rows in any order give equal bytes."""
    sorter.register("given", rows if isinstance(rows, pa.Table | ds.Dataset) else table_of(rows, schema))
    columns, order = (", ".join(f'"{name}"' for name in names) for names in (schema.names, keys))
    reader = sorter.sql(f"SELECT {columns} FROM given ORDER BY {order}").to_arrow_reader(GROUP)

    def write(part: Path) -> None:
        with pq.ParquetWriter(part, schema, **_layout(schema)) as writer:
            for group in _groups(reader):
                writer.write_table(group.cast(schema), row_group_size=GROUP)

    try:
        write_atomically(path, write)
    finally:
        sorter.unregister("given")


def joined(parts: Iterable[Part], schema: pa.Schema) -> pa.Table:
    """Parts as one table of a schema. Of parts that are rows, one at a time is held; what a table lacks is null."""
    tables = [part if isinstance(part, pa.Table) else table_of(part, schema) for part in parts]
    table = pa.concat_tables([schema.empty_table(), *tables], promote_options="permissive")
    return table.select(schema.names).cast(schema)


def _groups(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.Table]:
    """The same rows as tables of GROUP rows; the last may be shorter."""
    held: list[pa.RecordBatch] = []
    rows = 0
    for batch in batches:
        held.append(batch)
        rows += batch.num_rows
        while rows >= GROUP:
            table = pa.Table.from_batches(held)
            yield table.slice(0, GROUP)
            held, rows = table.slice(GROUP).to_batches(), rows - GROUP
    if rows:
        yield pa.Table.from_batches(held)


def _layout(schema: pa.Schema) -> dict[str, Any]:
    common = {"compression": "zstd", "write_page_checksum": True}
    if _LOOKED_UP not in schema.names:
        return common
    return {
        **common,
        "use_dictionary": [name for name in schema.names if name != _LOOKED_UP],
        "column_encoding": {_LOOKED_UP: "DELTA_BYTE_ARRAY"},
        "bloom_filter_options": {_LOOKED_UP: {"ndv": GROUP, "fpp": 0.01}},
    }
