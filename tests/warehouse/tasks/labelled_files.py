"""Labelled rows as files of every kind, and what is read from them or told."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from catalog.errors import TaskError
from catalog.tasks.task import Example, Task
from warehouse.tasks.readers import Layout, read_source

ROWS = [{"input": f"in {n}", "target": f'out, {n}\n"é"'} for n in range(8)]
EXAMPLES = tuple(Example(row["input"], row["target"]) for row in ROWS)


def lines(rows: Sequence[object]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def read_one(path: Path, **layout: Any) -> Task:
    found = read_source(path, Layout(**layout))
    assert len(found.tasks) == 1
    return found.tasks[0]


def cause_of(path: Path, **layout: Any) -> str:
    with pytest.raises(TaskError) as caught:
        read_source(path, Layout(**layout))
    assert caught.value.next_step
    return caught.value.cause


def write_jsonl(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    path.write_text("\ufeff" + lines(rows).replace("\n", "\r\n\r\n"))


def write_csv(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)


def write_parquet(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    pq.write_table(pa.Table.from_pylist(list(rows)), path)


WRITERS = {".jsonl": write_jsonl, ".csv": write_csv, ".parquet": write_parquet}
