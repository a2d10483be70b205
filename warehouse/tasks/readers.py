"""Readers of tasks from raw labelled files: one file, a folder of them, BIG-Bench Hard, FLAN.

Knows: which files and rows belong to one task, what a known layout says by itself. Does not know: the task folder
(warehouse/tasks), how a Hub data set comes here (catalog/hub/datasets).

    mine.csv                     one task, named after the file
    folder/a.jsonl, b.parquet    a task each
    folder/validation.jsonl, test-00000-of-00001.parquet    one task, named after the folder; so in folders below
    word_sorting.json            {"examples": [{"input", "target"}]}: BIG-Bench Hard
    rows with a column `task`    FLAN: a task a name; the rows may say domain and metric, too
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from catalog.errors import TaskError
from catalog.tasks.task import Task
from warehouse.storage.row_files import ENDINGS, FIX, read_rows
from warehouse.tasks.checks import check_leaks, check_rows
from warehouse.tasks.folder import MIN_VALIDATION, make_task, read_split, read_tasks, task_folders
from warehouse.tasks.labelled_rows import SPLITS, Columns, LabelledRow, read_labelled
from warehouse.tasks.splits import deal, split_of

LONG_ANSWER = 50  # new tokens in LORAUTER's protocol; tasks of FLAN and BIG-Bench Hard want sentences, too
NO_ROWS = ("dataset_info.json", "dataset_infos.json", "dataset_dict.json", "state.json", "package.json")


@dataclass(frozen=True, slots=True)
class Layout:
    """How rows are laid out and dealt, where the files do not say so themselves.

    Args:
        columns: where input, target, options, id and split are.
        fields: fields of Task that win over the files: name, metric, template, max_new_tokens, domain, adapter.
        counts: examples of validation, test, train.
        files: patterns of file names in a folder; () for all.
        keep: report duplicates and leaks, but drop none.
    """

    columns: Columns = field(default_factory=Columns)
    fields: Mapping[str, Any] = field(default_factory=dict)
    counts: Mapping[str, int] = field(default_factory=dict)
    files: tuple[str, ...] = ()
    keep: bool = False


@dataclass(frozen=True, slots=True)
class SourceTasks:
    """Tasks of a source, by name, and what a person should know of the rows: one line each."""

    tasks: tuple[Task, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _File:
    """A file with the task its rows belong to, and their split; rows may say otherwise."""

    path: Path
    task: str
    split: str | None = None


def read_source(source: Path, layout: Layout) -> SourceTasks:
    """Tasks of a file, of task folders, or of all files in and below another folder.

    Raises:
        TaskError: naming the file, the row and the field at fault.
    """
    if not source.is_dir():
        return _read([_File(source, source.stem)], layout, [])
    if folders := task_folders(source):
        return _read_task_folders(source, folders, layout)
    names = [path.relative_to(source).as_posix() for path in source.rglob("*") if path.is_file()]
    return read_files(source, names, layout)


def read_files(root: Path, names: Iterable[str], layout: Layout, called: str | None = None) -> SourceTasks:
    """Tasks of some files below a folder. A note names each file that lacks the columns.

    Args:
        root: the folder.
        names: the files, relative to it.
        layout: how rows are laid out and dealt.
        called: a task's name where the folder gives it one; the folder's own name by default.
    """
    chosen = data_files(names, layout.files)
    if not chosen:
        matching = f" that match {', '.join(layout.files)}" if layout.files else ""
        raise TaskError(f"{root} holds no {', '.join(ENDINGS)} files{matching}.", "Name a folder that does.")
    files = [_placed(root, name, called or root.resolve().name) for name in chosen]
    fitting = [file for file in files if _fits(file.path, layout.columns)]
    notes = [f"{file.path}: skipped, no columns of an input and a target" for file in files if file not in fitting]
    if not fitting:
        raise TaskError(f"{notes[0]}.", "Name the columns: --input-column and --target-column.")
    return _read(fitting, layout, notes)


def _read_task_folders(source: Path, folders: Sequence[Path], layout: Layout) -> SourceTasks:
    """Tasks of task folders, which say everything themselves. Faults of rows become notes, and no row is dropped."""
    if layout != Layout():
        raise TaskError(f"{folders[0]}/task.json says how its task is.", "Edit it, and give no options beside it.")
    tasks = read_tasks(source)
    notes = [note for folder in folders for note in _notes_of(folder)]
    return SourceTasks(tuple(tasks), tuple(notes))


def _notes_of(folder: Path) -> list[str]:
    paths = {split: folder / f"{split}.jsonl" for split in SPLITS}
    splits = {
        split: [LabelledRow(path, number, example, split=split) for number, example in read_split(path)]
        for split, path in paths.items()
    }
    _, faults = check_rows(folder.name, [row for rows in splits.values() for row in rows], keep=True)
    _, leaks = check_leaks(folder.name, splits, keep=True)
    return [str(finding) for finding in (*faults, *leaks)]


def data_files(names: Iterable[str], patterns: Sequence[str] = ()) -> list[str]:
    """The file names that may hold rows, and match one of the patterns where there are some."""
    return sorted(
        name
        for name in names
        if name.endswith(ENDINGS)
        and not any(part.startswith(".") for part in name.split("/"))
        and Path(name).name not in NO_ROWS
        and (not patterns or any(fnmatch(name, pattern) for pattern in patterns))
    )


def _placed(root: Path, name: str, called: str) -> _File:
    """A file of a folder: named by a split it is part of the folder's task, else a task of its own."""
    path = root / name
    split = split_of(path.stem)
    if split is None:
        return _File(path, path.stem)
    folders = [part for part in Path(name).parent.parts if part != "data"]
    return _File(path, "_".join(folders) or called, split)


def _fits(path: Path, columns: Columns) -> bool:
    first = next(iter(read_rows(path)), None)
    return first is not None and columns.fit(first[1])


def _read(files: Sequence[_File], layout: Layout, notes: list[str]) -> SourceTasks:
    groups: dict[str, list[LabelledRow]] = {}
    for file in files:
        for number, columns in read_rows(file.path):
            row = read_labelled(file.path, number, columns, layout.columns)
            if file.split and not row.split:
                row = replace(row, split=file.split)
            groups.setdefault(_task_of(row, file, files, layout), []).append(row)
    if not groups:
        raise TaskError(f"{files[0].path} holds no rows.", FIX)
    if "name" not in layout.fields and "adapter" in layout.fields and len(groups) > 1:
        raise TaskError(f"{len(groups)} tasks are in it, one adapter cannot be the own one of all.", "Drop --adapter.")
    tasks = []
    for name in sorted(groups):
        task, told = _make(name, groups[name], layout)
        tasks.append(task)
        notes += told
    return SourceTasks(tuple(tasks), tuple(notes))


def _task_of(row: LabelledRow, file: _File, files: Sequence[_File], layout: Layout) -> str:
    """The task of a row. A name that was given makes one task of everything, unless the files are several tasks."""
    if "name" not in layout.fields:
        return row.task or file.task
    if len({f.task for f in files}) > 1:
        raise TaskError(
            f"{len({f.task for f in files})} tasks are in it, among them {files[0].task}: one name does not do.",
            "Drop --name, or choose files with --files.",
        )
    return str(layout.fields["name"])


def _make(name: str, rows: Sequence[LabelledRow], layout: Layout) -> tuple[Task, list[str]]:
    where = rows[0].path
    sound, faults = check_rows(name, rows, layout.keep)
    dealt, left = deal(f"{where}: {name}" if rows[0].task else where, sound, layout.counts)
    splits, leaks = check_leaks(name, dealt, layout.keep)
    told = [str(finding) for finding in (*faults, *leaks)]
    _check_enough(where, name, splits["validation"], told)
    fields = {**_said(rows, layout.fields), **layout.fields, "name": name}
    task = make_task(where, fields, {split: tuple(row.example for row in rows) for split, rows in splits.items()})
    return task, [*told, *([f"{name}: {left} rows left over, asked for by no split"] if left else [])]


def _check_enough(where: Path, name: str, validation: Sequence[LabelledRow], told: Sequence[str]) -> None:
    if len(validation) < MIN_VALIDATION:
        raise TaskError(
            f"{where}: {name} has {len(validation)} validation examples, at least {MIN_VALIDATION} are needed"
            f"{''.join(f'; {line}' for line in told)}.",
            "Add rows, or draw them from another split with --validation N; nothing was stored.",
        )


def _said(rows: Sequence[LabelledRow], given: Mapping[str, Any]) -> dict[str, Any]:
    """Fields that the layout and the rows themselves give a task."""
    first = rows[0]
    said: dict[str, Any] = {"metric": first.metric or "exact_match"}
    if first.task is not None or first.path.suffix == ".json":
        said["max_new_tokens"] = LONG_ANSWER
    if len({row.domain for row in rows}) == 1:
        said["domain"] = first.domain
    other = next((row for row in rows if row.metric != first.metric), None)
    if other and "metric" not in given:
        raise TaskError(
            f"{other.where}: field metric is {other.metric!r}, but {first.metric!r} in row {first.number}.",
            "A task has one metric: choose it with --metric; nothing was stored.",
        )
    return said
