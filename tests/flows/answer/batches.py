"""A batch as the tests ask for it: its settings, its queries, and the rows that came of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from flows.home.home import Home
from warehouse.tasks.folder import stored_tasks

BASE = "tiny/llama"


def settings_of(home: Home) -> dict[str, Any]:
    return {**home.reference, "answer_rows": 4}


def queries_of(home: Home, path: Path, extra: list[dict[str, Any]] | None = None) -> Path:
    rows = [
        {"id": f"{task.name}-{n}", "input": e.input, "task": task.name, "max_new_tokens": 3}
        for task in stored_tasks(home.task_folder)
        for n, e in enumerate(task.test)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in [*rows, *(extra or [])]))
    return path


def rows_of(out: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(out).to_pylist()
    return rows


def told(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows but for what a clock says."""
    return [{k: v for k, v in row.items() if not k.endswith("_seconds")} for row in rows]
