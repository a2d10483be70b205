"""Readers of tasks, and the folder of tasks in a home.

Knows: the task folder (task.json plus train / validation / test .jsonl) and single JSONL, CSV and Parquet
files. Does not know: how tasks are scored or routed to.

    <name>/task.json          {"name", "metric", "template"?, "max_new_tokens"?, "adapter"?, "description"?}
    <name>/validation.jsonl   {"input": ..., "target": ...} a line; test.jsonl and train.jsonl are optional
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from catalog.errors import TaskError
from catalog.metrics import METRICS
from catalog.task import DEFAULT_TEMPLATE, Example, Task
from warehouse.files import write_text

SPLITS = ("train", "validation", "test")
MIN_VALIDATION = 8
_NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,63}", re.ASCII)
_FIX = "Mend the file and add it again; nothing was stored."


def read_tasks(path: Path) -> list[Task]:
    """The task in a folder with task.json, or all tasks in a folder of such folders, by name.

    Raises:
        TaskError: naming the file, the line and the field at fault.
    """
    if (path / "task.json").is_file():
        return [read_task(path)]
    tasks: dict[str, Task] = {}
    for where in sorted(path.glob("*/task.json")):
        task = read_task(where.parent)
        if task.name in tasks:
            raise TaskError(f"{where}: field name is {task.name!r}, which another task there has.", _FIX)
        tasks[task.name] = task
    if not tasks:
        raise TaskError(f"{path} holds no task: there is no task.json in it or one level below.", _FIX)
    return list(tasks.values())


def read_task(folder: Path) -> Task:
    """One task folder as a Task."""
    where = folder / "task.json"
    fields = _json_object(where.read_bytes(), str(where))
    splits = {name: tuple(_read_split(folder / f"{name}.jsonl")) for name in SPLITS}
    return make_task(where, fields, splits)


def read_task_file(path: Path, fields: Mapping[str, Any]) -> Task:
    """A JSONL, CSV or Parquet file of labelled rows as one task.

    Columns: input, target, and optionally split (train / validation / test; all validation without it).
    """
    splits: dict[str, list[Example]] = {name: [] for name in SPLITS}
    for number, row in read_rows(path):
        split = row.get("split", "validation")
        if split not in SPLITS:
            raise TaskError(f"{path}, row {number}: split is {split!r}, not one of {', '.join(SPLITS)}.", _FIX)
        splits[split].append(_example(row, f"{path}, row {number}"))
    return make_task(path, {"name": path.stem, **fields}, {k: tuple(v) for k, v in splits.items()})


def read_rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Numbered rows (from 1) of a JSONL, CSV or Parquet file, by its ending."""
    if not path.is_file():
        raise TaskError(f"{path} does not exist.", "Name a .jsonl, .csv or .parquet file.")
    if path.suffix in (".jsonl", ".ndjson"):
        yield from _read_jsonl(path)
    elif path.suffix in (".csv", ".parquet"):
        yield from enumerate(_read_columns(path), 1)
    else:
        raise TaskError(f"{path} has an unknown ending.", "Use .jsonl, .csv or .parquet.")


def make_task(where: Path, fields: Mapping[str, Any], splits: Mapping[str, tuple[Example, ...]]) -> Task:
    """Check every field and build the Task. Raises TaskError naming the field."""
    name, metric = fields.get("name"), fields.get("metric")
    template = fields.get("template", DEFAULT_TEMPLATE)
    bound = fields.get("max_new_tokens", 8)
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise TaskError(f"{where}: field name is {name!r}; use letters, digits, '_', '-' and '.'.", _FIX)
    if not isinstance(metric, str) or metric not in METRICS:
        raise TaskError(f"{where}: field metric is {metric!r}, not one of {', '.join(METRICS)}.", _FIX)
    if not _is_text(template) or "{input}" not in template:
        raise TaskError(f"{where}: field template must hold {{input}}.", _FIX)
    if type(bound) is not int or not 1 <= bound <= 4096:
        raise TaskError(f"{where}: field max_new_tokens is {bound!r}, not a number from 1 to 4096.", _FIX)
    if len(splits["validation"]) < MIN_VALIDATION:
        found = len(splits["validation"])
        raise TaskError(f"{where}: {found} validation examples, at least {MIN_VALIDATION} are needed.", _FIX)
    return Task(
        name=name,
        metric=metric,
        validation=splits["validation"],
        test=splits["test"],
        train=splits["train"],
        template=template,
        max_new_tokens=bound,
        adapter=_optional_text(fields, "adapter", where),
        description=_optional_text(fields, "description", where) or "",
    )


def store_task(root: Path, task: Task) -> Path:
    """Write a task to the home's folder of tasks, replacing one of the same name. task.json comes last."""
    folder = root / task.name
    for split in SPLITS:
        examples: Iterable[Example] = getattr(task, split)
        lines = [json.dumps({"input": e.input, "target": e.target}, ensure_ascii=False) for e in examples]
        write_text(folder / f"{split}.jsonl", "".join(line + "\n" for line in lines))
    fields: dict[str, Any] = {
        "name": task.name,
        "metric": task.metric,
        "template": task.template,
        "adapter": task.adapter,
    }
    fields |= {"max_new_tokens": task.max_new_tokens, "description": task.description}
    write_text(folder / "task.json", json.dumps(fields, ensure_ascii=False, indent=2) + "\n")
    return folder


def _read_split(path: Path) -> Iterator[Example]:
    if path.is_file():
        for number, row in _read_jsonl(path):
            yield _example(row, f"{path}, line {number}")


def _read_jsonl(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    with path.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            if line.strip():
                yield number, _json_object(line, f"{path}, line {number}")


def _read_columns(path: Path) -> Iterator[dict[str, Any]]:
    import duckdb  # quick to read both kinds, and types come out plain

    csv = "read_csv(?, all_varchar=true, header=true, delim=',', quote='\"', escape='\"', hive_partitioning=false)"
    reader = csv if path.suffix == ".csv" else "read_parquet(?, hive_partitioning=false)"
    try:
        with duckdb.connect() as connection:
            cursor = connection.execute(f"SELECT * FROM {reader}", [str(path)])
            names = [column[0] for column in cursor.description or ()]
            while rows := cursor.fetchmany(10_000):
                yield from (dict(zip(names, row, strict=True)) for row in rows)
    except duckdb.Error as error:
        raise TaskError(f"{path} cannot be read ({str(error)[:200]}).", _FIX) from error


def _example(row: Mapping[str, Any], where: str) -> Example:
    for field in ("input", "target"):
        if not _is_text(row.get(field)) or not row[field].strip():
            raise TaskError(f"{where}: field {field} must be text that is not empty.", _FIX)
    return Example(row["input"], row["target"])


def _is_text(value: object) -> bool:
    """Whether it is a string that UTF-8 can hold: JSON may escape half a surrogate pair."""
    return isinstance(value, str) and not any("\ud800" <= c <= "\udfff" for c in value)


def _json_object(raw: bytes, where: str) -> dict[str, Any]:
    try:
        value = json.loads(raw.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise TaskError(f"{where} is not UTF-8 (byte {error.start}).", _FIX) from error
    except (ValueError, RecursionError) as error:
        raise TaskError(f"{where} is not JSON ({str(error)[:100]}).", _FIX) from error
    if not isinstance(value, dict):
        raise TaskError(f"{where} is not a JSON object.", _FIX)
    return value


def _optional_text(fields: Mapping[str, Any], name: str, where: Path) -> str | None:
    value = fields.get(name)
    if value is not None and not _is_text(value):
        raise TaskError(f"{where}: field {name} must be text.", _FIX)
    return value
