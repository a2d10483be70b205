"""Labelled rows: a raw row with its place in a file, read as an example through a mapping of columns.

Knows: which columns hold input, target, options, id and split, in our own layout and in FLAN's.
Does not know: files (warehouse/storage/row_files), how rows become tasks (warehouse/tasks/readers).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from catalog.errors import TaskError
from catalog.tasks.metrics import METRICS
from catalog.tasks.options import index_of, options_in
from catalog.tasks.task import Example
from warehouse.storage.row_files import FIX, is_text, whole_number

SPLITS = ("train", "validation", "test")
OPTIONS = "options"  # a column of lists by this name is taken without being named
FLAN_METRICS = {"em": "exact_match", "rouge": "struct_to_text"}  # names of LORAUTER's data; "bleu" is ours too
_INPUTS, _TARGETS = ("input", "inputs"), ("target", "targets")


@dataclass(frozen=True, slots=True)
class Columns:
    """Which columns hold what; empty means the usual names: input or inputs, target or targets.

    Args:
        input: joined by line breaks where several.
        options: one column of lists, or one column an option.
        id: shown with a row that has a fault.
        split: train, validation or test.
    """

    input: tuple[str, ...] = ()
    target: str | None = None
    options: tuple[str, ...] = ()
    id: str | None = None
    split: str = "split"

    def input_of(self, row: Mapping[str, Any]) -> tuple[str, ...]:
        """The columns of the input in this row."""
        return self.input or (_present(row, _INPUTS),)

    def target_of(self, row: Mapping[str, Any]) -> str:
        """The column of the target in this row."""
        return self.target or _present(row, _TARGETS)

    def fit(self, row: Mapping[str, Any]) -> bool:
        """Whether a row has columns for an input and a target at all."""
        return {*self.input_of(row), self.target_of(row)} <= row.keys()


@dataclass(frozen=True, slots=True)
class LabelledRow:
    """An example with its place: file, row, its own id, split, and what FLAN's layout says of it."""

    path: Path
    number: int
    example: Example
    id: str | None = None
    split: str | None = None
    task: str | None = None
    metric: str | None = None
    domain: str | None = None

    @property
    def where(self) -> str:
        """File and row, for a person."""
        return f"{self.path}, row {self.number}"


def read_labelled(path: Path, number: int, row: Mapping[str, Any], columns: Columns) -> LabelledRow:
    """One row as an example. Raises TaskError naming file, row and field."""
    where = f"{path}, row {number}"
    return LabelledRow(
        path,
        number,
        _example(row, columns, where, listed=path.suffix == ".json" or "task" in row),
        id=None if columns.id is None else str(_field(row, columns.id, where)),
        split=_split(row, columns, where),
        task=_text(row, "task", where) if "task" in row else None,
        metric=_metric(row, where) if "task" in row else None,
        domain=_text(row, "domain", where) if "task" in row and row.get("domain") is not None else None,
    )


def _example(row: Mapping[str, Any], columns: Columns, where: str, listed: bool) -> Example:
    text = "\n".join(_text(row, name, where) for name in columns.input_of(row))
    named = columns.options or ((OPTIONS,) if isinstance(row.get(OPTIONS), list) else ())
    if named:
        options = _options(row, named, where)
        return Example(text, _chosen(row, columns.target_of(row), options, where), options)
    target = _text(row, columns.target_of(row), where)
    options = options_in(text) if listed else ()
    return Example(text, target, options if index_of(target, options) is not None else ())


def _chosen(row: Mapping[str, Any], name: str, options: tuple[str, ...], where: str) -> str:
    """The target of a row with options: as text, as letter, or as the option's number from 0."""
    value = row.get(name)
    number = whole_number(value)
    is_named = value in options or (isinstance(value, str) and "." in value and index_of(value, options) is not None)
    if number is not None and 0 <= number < len(options) and not is_named:
        return options[number]
    target = _text(row, name, where)
    if index_of(target, options) is None:
        raise TaskError(f"{where}: field {name} is {target[:80]!r}, which is none of the options.", FIX)
    return target


def _options(row: Mapping[str, Any], names: tuple[str, ...], where: str) -> tuple[str, ...]:
    texts = [text for name in names for text in _listed(_field(row, name, where))]
    if len(texts) < 2 or not all(is_text(text) and text.strip() for text in texts):
        raise TaskError(f"{where}: field {', '.join(names)} must hold two texts or more.", FIX)
    return tuple(texts)


def _listed(value: Any) -> list[Any]:
    """Options as a list, as {"text": list} (a usual layout on the Hub), as JSON text of either, or one of them."""
    if isinstance(value, str) and value.lstrip().startswith(("[", "{")):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return [value]
    if isinstance(value, Mapping):
        value = value.get("text")
    return list(value) if isinstance(value, list | tuple) else [value]


def _split(row: Mapping[str, Any], columns: Columns, where: str) -> str | None:
    if columns.split not in row:
        return None
    split = row[columns.split]
    if not isinstance(split, str) or split not in SPLITS:
        raise TaskError(f"{where}: {columns.split} is {split!r}, not one of {', '.join(SPLITS)}.", FIX)
    return split


def _metric(row: Mapping[str, Any], where: str) -> str | None:
    given = row.get("metric")
    name = FLAN_METRICS.get(given, given) if isinstance(given, str) else given
    if name is not None and (not isinstance(name, str) or name not in METRICS):
        raise TaskError(f"{where}: field metric is {given!r}, not one of {', '.join(METRICS)}.", FIX)
    return name


def _field(row: Mapping[str, Any], name: str, where: str) -> Any:
    if row.get(name) is None:
        raise TaskError(f"{where}: field {name} is missing; the row has {', '.join(map(str, row))[:200]}.", FIX)
    return row[name]


def _text(row: Mapping[str, Any], name: str, where: str) -> str:
    value = row.get(name)
    if not isinstance(value, str) or not is_text(value):
        raise TaskError(f"{where}: field {name} must be text that is not empty.", FIX)
    return value


def _present(row: Mapping[str, Any], names: tuple[str, ...]) -> str:
    return next((name for name in names if name in row), names[0])
