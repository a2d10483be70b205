"""Rows of a file, numbered: JSONL, JSON, CSV or Parquet.

Knows: the four kinds of file, and how to say which line is damaged. Does not know: what the columns mean
(warehouse/tasks/labelled_rows).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from catalog.errors import TaskError

ENDINGS = (".jsonl", ".ndjson", ".json", ".csv", ".parquet")
FIX = "Mend the file and run the command again; nothing was stored."
_CSV_BUFFER = 2 << 20  # bytes; the default one, on every thread, holds hundreds of MiB of a long file
_ENDINGS_TOLD = ".jsonl, .json, .csv or .parquet"


def read_rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Numbered rows (from 1) of a JSONL, JSON, CSV or Parquet file, by its ending. Of JSONL the number is the line's.

    A JSON file is a list of objects, or an object with such a list in `examples`, as BIG-Bench Hard's.
    """
    if not path.is_file():
        raise TaskError(f"{path} does not exist.", f"Name a {_ENDINGS_TOLD} file.")
    if path.suffix in (".jsonl", ".ndjson"):
        yield from read_jsonl(path)
    elif path.suffix == ".json":
        yield from enumerate(_read_json(path), 1)
    elif path.suffix in (".csv", ".parquet"):
        yield from enumerate(_read_columns(path), 1)
    else:
        raise TaskError(f"{path} has an unknown ending.", f"Use {_ENDINGS_TOLD}.")


def read_jsonl(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Objects of a JSONL file with their lines; blank lines count, and hold nothing."""
    with path.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            if line.strip():
                yield number, json_object(line, f"{path}, line {number}")


def json_object(raw: bytes, where: str) -> dict[str, Any]:
    """A JSON object; `where` names it in the TaskError for anything else."""
    value = _json(raw, where)
    if not isinstance(value, dict):
        raise TaskError(f"{where} is not a JSON object.", FIX)
    return value


def is_text(value: object) -> bool:
    """Whether it is a string that UTF-8 can hold: JSON may escape half a surrogate pair."""
    if not isinstance(value, str):
        return False
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def whole_number(value: object) -> int | None:
    """The whole number that a field holds, None where it holds none.

    A column of whole numbers with a gap in it is one of floats to pandas: 32 comes as 32.0, in text as "32.0".
    """
    if isinstance(value, bool):
        return None
    if isinstance(value, str):
        text = value.strip()
        whole, _, zeros = text.partition(".")
        return int(whole) if whole.isdecimal() and len(whole) < 20 and not zeros.strip("0") else None
    if isinstance(value, float):
        return int(value) if value.is_integer() else None
    return value if isinstance(value, int) else None


def _json(raw: bytes, where: str) -> Any:
    try:
        return json.loads(raw.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise TaskError(f"{where} is not UTF-8 (byte {error.start}).", FIX) from error
    except (ValueError, RecursionError) as error:
        raise TaskError(f"{where} is not JSON ({str(error)[:100]}).", FIX) from error


def _read_json(path: Path) -> list[dict[str, Any]]:
    value = _json(path.read_bytes(), str(path))
    rows = value.get("examples") if isinstance(value, dict) else value
    if not isinstance(rows, list):
        raise TaskError(f"{path} holds no list of rows, nor an object with a list in field examples.", FIX)
    for number, row in enumerate(rows, 1):
        if not isinstance(row, dict):
            raise TaskError(f"{path}, row {number} is not a JSON object.", FIX)
    return rows


def _read_columns(path: Path) -> Iterator[dict[str, Any]]:
    import duckdb  # quick to read both kinds, and types come out plain

    csv = (
        "read_csv(?, all_varchar=true, header=true, delim=',', quote='\"', escape='\"', hive_partitioning=false,"
        f" buffer_size={_CSV_BUFFER})"
    )
    reader = csv if path.suffix == ".csv" else "read_parquet(?, hive_partitioning=false)"
    try:
        with duckdb.connect(config={"threads": 1}) as connection:
            cursor = connection.execute(f"SELECT * FROM {reader}", [str(path)])
            names = [column[0] for column in cursor.description or ()]
            while rows := cursor.fetchmany(10_000):
                yield from (dict(zip(names, row, strict=True)) for row in rows)
    except duckdb.Error as error:
        raise TaskError(f"{path} cannot be read ({str(error)[:200]}).", FIX) from error
