"""Checks of labelled rows: near-empty, duplicated, and leaking from one split to another.

Knows: which rows say nothing, say something twice, or give the test away, and which of them are better dropped.
Does not know: how rows were read, what becomes of the rest.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from warehouse.tasks.labelled_rows import LabelledRow

LEAST_INPUT = 3  # letters and digits; fewer ask nothing
SHOWN = 5  # rows named in a finding

Splits = dict[str, list[LabelledRow]]


@dataclass(frozen=True, slots=True)
class Finding:
    """Rows of one file with one fault, and whether they were dropped."""

    task: str
    fault: str
    path: Path
    rows: tuple[LabelledRow, ...]
    dropped: bool

    def __str__(self) -> str:
        """One line: task, how many, the fault with its field, what was done, file and first rows."""
        named = ", ".join(str(row.number) + (f" (id {row.id})" if row.id else "") for row in self.rows[:SHOWN])
        more = f" and {len(self.rows) - SHOWN} more" if len(self.rows) > SHOWN else ""
        rows, fate = "row" if len(self.rows) == 1 else "rows", "dropped" if self.dropped else "kept"
        return f"{self.task}: {len(self.rows)} {rows} {fate}, {self.fault}: {self.path}, {rows} {named}{more}"


def check_rows(task: str, rows: Sequence[LabelledRow], keep: bool) -> tuple[list[LabelledRow], list[Finding]]:
    """Rows that say something, each once a split. Near-empty inputs are told and kept: they may be meant."""
    blank = [row for row in rows if not row.example.input.strip() or not row.example.target.strip()]
    said = _without(rows, blank)
    short = [row for row in said if sum(map(str.isalnum, row.example.input)) < LEAST_INPUT]
    repeated = _repeated(said)
    findings = [
        *_findings(task, "empty in field input or target", blank, dropped=True),  # no metric can score them
        *_findings(task, f"with fewer than {LEAST_INPUT} letters or digits in field input", short, dropped=False),
        *_findings(task, "with the input and target of an earlier row", repeated, dropped=not keep),
    ]
    return (said if keep else _without(said, repeated)), findings


def check_leaks(task: str, splits: Mapping[str, Sequence[LabelledRow]], keep: bool) -> tuple[Splits, list[Finding]]:
    """Splits without leaks: no validation input is a test input, no train input is either. The test set stays whole."""
    left: Splits = {name: list(rows) for name, rows in splits.items()}
    findings: list[Finding] = []
    for split, others in (("validation", ("test",)), ("train", ("validation", "test"))):
        for other in others:
            others_inputs = {_folded(row.example.input) for row in left[other]}
            leaking = [row for row in left[split] if _folded(row.example.input) in others_inputs]
            fault = f"of {split} whose field input is a {other} input too"
            findings += _findings(task, fault, leaking, dropped=not keep)
            left[split] = left[split] if keep else _without(left[split], leaking)
    return left, findings


def _repeated(rows: Iterable[LabelledRow]) -> list[LabelledRow]:
    seen: set[tuple[str | None, str, str]] = set()
    repeated = []
    for row in rows:
        key = row.split, _folded(row.example.input), _folded(row.example.target)
        if key in seen:
            repeated.append(row)
        seen.add(key)
    return repeated


def _findings(task: str, fault: str, rows: Iterable[LabelledRow], dropped: bool) -> list[Finding]:
    by_path: dict[Path, list[LabelledRow]] = {}
    for row in rows:
        by_path.setdefault(row.path, []).append(row)
    return [Finding(task, fault, path, tuple(of_path), dropped) for path, of_path in by_path.items()]


def _without(rows: Iterable[LabelledRow], dropped: Iterable[LabelledRow]) -> list[LabelledRow]:
    places = {(row.path, row.number) for row in dropped}
    return [row for row in rows if (row.path, row.number) not in places]


def _folded(text: str) -> str:
    """The text as a duplicate is recognised: without regard to spaces and line breaks."""
    return " ".join(text.split())
