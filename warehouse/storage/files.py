"""Files that are either whole or absent.

Knows: write beside, flush to disk, rename. Does not know: what the bytes mean.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from catalog.errors import DiskError


def write_atomically(path: Path, write: Callable[[Path], None]) -> None:
    """Let `write` fill a temporary file beside `path`, then rename it: a reader sees all of it or nothing.

    Raises DiskError where a path cannot be a file: a folder is in its place, or a file where its folder should be.
    """
    with _placed(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".part")
    os.close(handle)
    part = Path(name)
    try:
        write(part)
        with part.open("rb") as file:
            os.fsync(file.fileno())
        part.chmod(0o644)
        with _placed(path):
            part.replace(path)
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def _placed(path: Path) -> Iterator[None]:
    try:
        yield
    except (FileExistsError, FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
        raise DiskError(f"{path} cannot be written ({error.strerror}).", "Name another file.") from error


def sync_folder(folder: Path) -> None:
    """Flush a folder's entries to disk: what was renamed into it stays there."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically, UTF-8."""

    def write(part: Path) -> None:
        part.write_text(text, encoding="utf-8")

    write_atomically(path, write)


def write_table(path: Path, table: pa.Table) -> None:
    """Write a Parquet file atomically."""
    write_atomically(path, table_writer(table))


def table_writer(table: pa.Table) -> Callable[[Path], None]:
    """Writes a table as Parquet (zstd, a checksum a page). Equal tables give equal bytes."""
    return lambda path: pq.write_table(table, path, compression="zstd", write_page_checksum=True)


def join_tables(parts: Sequence[Path], path: Path, schema: pa.Schema) -> int:
    """Write many Parquet files of one schema as one, atomically, one of them in memory. Returns the rows."""

    def write(part: Path) -> None:
        with pq.ParquetWriter(part, schema, compression="zstd", write_page_checksum=True) as writer:
            for one in parts:
                writer.write_table(read_table(one))

    write_atomically(path, write)
    return int(pq.read_metadata(path).num_rows)


def read_table(path: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """Read a Parquet file and verify its pages. Folders named `key=value` add no columns.

    Raises:
        ValueError: it is no whole Parquet file.
    """
    try:
        return pq.read_table(path, columns=columns, partitioning=None, page_checksum_verification=True)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise ValueError(f"{path} cannot be read ({str(error)[:120]})") from error


def column_names(path: Path) -> set[str]:
    """Names of a Parquet file's columns. Raises ValueError: it is no Parquet file."""
    try:
        return set(pq.read_schema(path).names)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise ValueError(f"{path} cannot be read ({str(error)[:120]})") from error
