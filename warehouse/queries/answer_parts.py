"""Answers as they come: a part a chunk of queries, beside the file that they become.

Knows: which parts are whole, how they become one file, when they may go. Does not know: how answers come about.

A part is whole or absent, and its name says what it was made from; so a batch that was killed finds its own parts
again, and nobody else's. The file itself appears when all are there.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

import pyarrow as pa

from catalog.errors import DiskError
from warehouse.queries.answer_rows import AnswerRow, answers_table
from warehouse.schemas.answers import ANSWERS
from warehouse.storage.files import join_tables, read_table, write_table


class AnswerParts:
    """The parts of one file of answers.

    Args:
        out: the file.
        schema: its columns, see `answers_table`.
    """

    def __init__(self, out: Path, schema: pa.Schema = ANSWERS) -> None:
        self._out, self._schema = out, schema
        self._folder = out.with_name(f".{out.name}.parts")
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DiskError(f"{self._folder} cannot be made ({error.strerror}).", "Write --out elsewhere.") from error

    def has(self, name: str) -> bool:
        """Whether a part is there, whole."""
        return self._path(name).exists()

    def failed(self, name: str) -> int:
        """How many rows of a part have an error."""
        errors = read_table(self._path(name), ["error"])["error"]
        return len(errors) - int(errors.null_count)

    def put(self, name: str, rows: Iterable[AnswerRow]) -> None:
        """Add a part."""
        write_table(self._path(name), answers_table(rows, self._schema))

    def join(self, names: Sequence[str]) -> int:
        """Make the file of these parts, in their order, and forget them. Returns its rows."""
        rows = join_tables([self._path(name) for name in names], self._out, self._schema)
        shutil.rmtree(self._folder)
        return rows

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}.parquet"
