"""How a SQL session reads Parquet files: itself, or through Arrow, which can read but not write.

Knows: what stands after FROM. Does not know: which files there are. DuckDB's allowed folders are open to COPY … TO as
well, so a session that may write somewhere gets its tables through Arrow and no word of their folders.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.dataset as ds

HIDDEN = "_files_"
Source = Callable[[Sequence[Path], pa.Schema | None], str]
"""Files of one table, and their schema where some may lack columns → what stands after FROM."""


def by_duckdb(paths: Sequence[Path], schema: pa.Schema | None = None) -> str:
    """Files by name, not by pattern: a folder may be called `a[1]*`. Folders named `key=value` add no columns."""
    listed = ", ".join(quoted(str(path)) for path in paths)
    return f"read_parquet([{listed}], hive_partitioning = false{', union_by_name = true' if schema else ''})"


def by_arrow(connection: duckdb.DuckDBPyConnection) -> Source:
    """A source that registers files with the session as what Arrow reads."""
    count = 0

    def source(paths: Sequence[Path], schema: pa.Schema | None = None) -> str:
        nonlocal count
        count += 1
        name = f"{HIDDEN}{count}"
        files = [str(path) for path in paths]
        connection.register(name, ds.dataset(files, schema=schema, format="parquet", partitioning=None))
        return name

    return source


def quoted(text: str) -> str:
    """A text as SQL writes it."""
    return "'" + text.replace("'", "''") + "'"
