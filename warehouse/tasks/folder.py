"""The task folder: how a task is stored, in a home or anywhere else.

Knows: task.json plus train / validation / test .jsonl, and what every field may be. Does not know: other layouts
(warehouse/tasks/readers), how tasks are scored or routed to.

    <name>/task.json          {"name", "metric", "template"?, "max_new_tokens"?, "adapter"?, "description"?, "domain"?}
    <name>/validation.jsonl   {"input", "target", "options"?} a line; test.jsonl and train.jsonl are optional
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from catalog.errors import TaskError
from catalog.tasks.metrics import METRICS
from catalog.tasks.options import index_of
from catalog.tasks.task import CHAT, DEFAULT_TEMPLATE, Example, Task
from warehouse.storage.files import write_text
from warehouse.storage.row_files import FIX, is_text, json_object, read_jsonl, read_rows, whole_number
from warehouse.tasks.labelled_rows import SPLITS

__all__ = [
    "MIN_VALIDATION",
    "has_tasks",
    "make_task",
    "read_rows",
    "read_split",
    "read_task",
    "read_tasks",
    "remove_task",
    "store_task",
    "stored_tasks",
    "task_folders",
]
MIN_VALIDATION = 2  # one that selects, one that reports
_NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,63}", re.ASCII)


def task_folders(path: Path) -> list[Path]:
    """The folder itself if it holds a task.json, else the folders in it that do."""
    if (path / "task.json").is_file():
        return [path]
    return [where.parent for where in sorted(path.glob("*/task.json"))]


def read_tasks(path: Path) -> list[Task]:
    """The task in a folder with task.json, or all tasks in a folder of such folders, by name.

    Raises:
        TaskError: naming the file, the line and the field at fault.
    """
    tasks: dict[str, Task] = {}
    for folder in task_folders(path):
        task = read_task(folder)
        if task.name in tasks:
            raise TaskError(f"{folder / 'task.json'}: field name is {task.name!r}, which another task there has.", FIX)
        tasks[task.name] = task
    if not tasks:
        raise TaskError(f"{path} holds no task: there is no task.json in it or one level below.", FIX)
    return list(tasks.values())


def stored_tasks(folder: Path) -> list[Task]:
    """The tasks that were added to a folder, by name. Raises TaskError where there are none yet."""
    if not has_tasks(folder):
        raise TaskError("There are no tasks yet.", "Add some: lorauter tasks add FOLDER_OR_FILE.")
    return read_tasks(folder)


def has_tasks(folder: Path) -> bool:
    """Whether any task was added to a folder."""
    return any(folder.glob("*/task.json"))


def read_task(folder: Path) -> Task:
    """One task folder as a Task."""
    where = folder / "task.json"
    fields = json_object(where.read_bytes(), str(where))
    splits = {name: tuple(e for _, e in read_split(folder / f"{name}.jsonl")) for name in SPLITS}
    return make_task(where, fields, splits)


def make_task(where: Path, fields: Mapping[str, Any], splits: Mapping[str, tuple[Example, ...]]) -> Task:
    """Check every field and build the Task. Raises TaskError naming the field."""
    name, metric = fields.get("name"), fields.get("metric")
    template = fields.get("template", DEFAULT_TEMPLATE)
    given = fields.get("max_new_tokens", 8)
    bound = None if isinstance(given, str) else whole_number(given)
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise TaskError(f"{where}: field name is {name!r}; use letters, digits, '_', '-' and '.'.", FIX)
    if not isinstance(metric, str) or metric not in METRICS:
        raise TaskError(f"{where}: field metric is {metric!r}, not one of {', '.join(METRICS)}.", FIX)
    if not is_text(template) or (template != CHAT and "{input}" not in template):
        raise TaskError(f"{where}: field template must hold {{input}}, or be {CHAT}.", FIX)
    if bound is None or not 1 <= bound <= 4096:
        raise TaskError(f"{where}: field max_new_tokens is {given!r}, not a number from 1 to 4096.", FIX)
    if len(splits["validation"]) < MIN_VALIDATION:
        number = len(splits["validation"])
        raise TaskError(f"{where}: {number} validation examples, at least {MIN_VALIDATION} are needed.", FIX)
    if METRICS[metric].needs == "option_logprobs":
        _check_options(where, metric, splits)
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
        domain=_optional_text(fields, "domain", where),
    )


def store_task(root: Path, task: Task) -> Path:
    """Write a task to the home's folder of tasks, replacing one of the same name. task.json comes last."""
    folder = root / task.name
    for split in SPLITS:
        examples: Iterable[Example] = getattr(task, split)
        lines = [json.dumps(_stored(example), ensure_ascii=False) for example in examples]
        write_text(folder / f"{split}.jsonl", "".join(line + "\n" for line in lines))
    fields: dict[str, Any] = {
        "name": task.name,
        "metric": task.metric,
        "template": task.template,
        "adapter": task.adapter,
    }
    fields |= {"max_new_tokens": task.max_new_tokens, "description": task.description}
    fields |= {"domain": task.domain} if task.domain else {}
    write_text(folder / "task.json", json.dumps(fields, ensure_ascii=False, indent=2) + "\n")
    return folder


def remove_task(root: Path, name: str) -> None:
    """Forget a task; what the ledger holds of it stays. task.json goes first. Raises TaskError where there is none."""
    names = [folder.name for folder in task_folders(root)] if root.is_dir() else []
    if name not in names:
        listed = ", ".join(names[:20]) or "there is none"
        raise TaskError(f"There is no task {name[:80]!r}.", f"The tasks: {listed}.")
    (root / name / "task.json").unlink()
    shutil.rmtree(root / name)


def read_split(path: Path) -> Iterator[tuple[int, Example]]:
    """Examples of one .jsonl of a task folder, with their lines; none where there is no such file."""
    if path.is_file():
        for number, row in read_jsonl(path):
            yield number, _example(row, f"{path}, line {number}")


def _example(row: Mapping[str, Any], where: str) -> Example:
    for field in ("input", "target"):
        if not is_text(row.get(field)) or not row[field].strip():
            raise TaskError(f"{where}: field {field} must be text that is not empty.", FIX)
    options = row.get("options") or []
    if not isinstance(options, list) or not all(is_text(option) and option.strip() for option in options):
        raise TaskError(f"{where}: field options must be a list of texts.", FIX)
    return Example(row["input"], row["target"], tuple(options))


def _stored(example: Example) -> dict[str, Any]:
    options = {"options": list(example.options)} if example.options else {}
    return {"input": example.input, "target": example.target, **options}


def _check_options(where: Path, metric: str, splits: Mapping[str, Sequence[Example]]) -> None:
    for split in ("validation", "test"):
        for number, example in enumerate(splits[split], 1):
            if len(example.options) < 2 or index_of(example.target, example.options) is None:
                raise TaskError(
                    f"{where}: metric {metric} needs options that hold the target; {split} example {number} has "
                    f"{len(example.options)} without it (field options).",
                    "Add options, or choose a metric of texts; nothing was stored.",
                )


def _optional_text(fields: Mapping[str, Any], name: str, where: Path) -> str | None:
    value = fields.get(name)
    if value is not None and not is_text(value):
        raise TaskError(f"{where}: field {name} must be text.", FIX)
    return value
