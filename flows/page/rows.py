"""The rows that a page is made of: one kind a query of sql/, and two of the snapshot's own tables.

Knows: that a field is called as its column is. Does not know: SQL, what is made of the rows. Scores, lifts and errors
of the queries are whole thousandths.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class AdapterRow:
    """An adapter with what decided its verdict. Where only a score names it, nothing else is known."""

    base: str
    adapter: str
    admitted: bool = True
    downloaded: bool | None = None
    reason: str | None = None
    findings: Sequence[Mapping[str, str]] | None = None
    licence: str | None = None
    size: int | None = None
    sha256: str | None = None
    duplicate_of: str | None = None
    base_named: str | None = None
    base_source: str | None = None
    peft_type: str | None = None
    task_type: str | None = None
    peft_version: str | None = None
    rank: int | None = None
    modules: int | None = None
    matched: float | None = None
    dtypes: Sequence[str] | None = None
    dora: bool | None = None
    rslora: bool | None = None
    downloads: int | None = None
    rules_version: str | None = None


@dataclass(frozen=True, slots=True)
class CardRow:
    """The words of an adapter's card."""

    adapter: str
    text: str


@dataclass(frozen=True, slots=True)
class FormatRow:
    """The surest evidence on the prompt format that an adapter was trained in."""

    base: str
    adapter: str
    format: str
    source: str
    confidence: float
    sure: bool
    reason: str


@dataclass(frozen=True, slots=True)
class FunnelRow:
    """Adapters of a base from seen to chosen."""

    base: str
    seen: int
    downloaded: int
    admitted: int
    scored: int
    chosen: int


@dataclass(frozen=True, slots=True)
class LicenceRow:
    """Adapters of a base under a licence."""

    base: str
    licence: str
    seen: int
    admitted: int
    chosen: int


@dataclass(frozen=True, slots=True)
class PathRow:
    """What one of a task's last adapters had reached at a rung."""

    base: str
    task: str
    rung: int
    adapter: str
    n: int
    mean: int | None
    error: int | None


@dataclass(frozen=True, slots=True)
class QualityRow:
    """After a rung: evaluations so far, and the mean lift of the leaders."""

    base: str
    rung: int
    evaluations: int
    lift: int | None


@dataclass(frozen=True, slots=True)
class ReasonRow:
    """Adapters of a base that a rule rejected, and one of them."""

    base: str
    reason: str
    adapters: int
    example: str


@dataclass(frozen=True, slots=True)
class RepoRow:
    """What the hub says of a repo, as last listed."""

    repo: str
    tags: Sequence[str] | None
    likes: int | None
    last_modified: str | None
    gone: str | None


@dataclass(frozen=True, slots=True)
class RungRow:
    """How many adapters met a rung of a task, and how many went on."""

    base: str
    task: str
    rung: int
    adapters: int
    kept: int
    n: int


@dataclass(frozen=True, slots=True)
class ScoreRow:
    """An adapter on a task that it was tried on; "" is the base alone. A format that is None is the task's own."""

    base: str
    task: str
    adapter: str
    n: int
    lift_n: int | None
    rung: int
    chosen: bool | None
    empty: int | None
    cut: int | None
    format: str | None
    mean: int | None
    error: int | None
    lift: int | None
    lift_error: int | None


@dataclass(frozen=True, slots=True)
class TaskRow:
    """A task with its published adapter: "" is the base, None where nothing was published."""

    base: str
    task: str
    metric: str | None
    description: str | None
    declared: str | None
    n_validation: int | None
    majority: str | None
    embedding: Sequence[float] | None
    adapter: str | None
    n: int | None
    status: str | None
    empty: int | None
    cut: int | None
    base_empty: int | None
    base_cut: int | None
    format: str | None
    base_format: str | None
    score: int | None
    error: int | None
    base_score: int | None
    lift: int | None
    lift_error: int | None
    over_majority: int | None
    over_shuffled: int | None


@dataclass(frozen=True, slots=True)
class WhyRow:
    """Why one of a task's last adapters went no further."""

    base: str
    task: str
    adapter: str
    why: str


@dataclass(frozen=True, slots=True)
class AgeRow:
    """How many rows a table of the ledger has, and since when."""

    table: str
    rows: int
    oldest: datetime | None
    newest: datetime | None


@dataclass(frozen=True, slots=True)
class ChangeRow:
    """What changed for an adapter on a task since the snapshot before."""

    base: str
    task: str
    adapter: str
    change: str | None
    mean_before: float | None
    mean: float | None
    lift_before: float | None
    lift: float | None
    chosen_before: bool | None
    chosen: bool | None
    format_before: str | None
    format: str | None


@dataclass(frozen=True, slots=True)
class RunRow:
    """What a run took."""

    base: str | None
    command: str | None
    started: datetime | None
    seconds: float | None
    file_requests: int | None
    spent: int | None
    new: int | None
    exhaustive: int | None


@dataclass(frozen=True, slots=True)
class Tables:
    """All rows, by the name of their query or table; none of a query whose part of ledger or snapshot is not there."""

    adapters: Sequence[AdapterRow]
    cards: Sequence[CardRow]
    formats: Sequence[FormatRow]
    funnel: Sequence[FunnelRow]
    licences: Sequence[LicenceRow]
    paths: Sequence[PathRow]
    quality: Sequence[QualityRow]
    reasons: Sequence[ReasonRow]
    repos: Sequence[RepoRow]
    rungs: Sequence[RungRow]
    scores: Sequence[ScoreRow]
    tasks: Sequence[TaskRow]
    whys: Sequence[WhyRow]
    ages: Sequence[AgeRow]
    changes: Sequence[ChangeRow]
    runs: Sequence[RunRow]

    @property
    def bases(self) -> list[str]:
        """Ids of the bases that tasks or adapters are of, in order."""
        return sorted({row.base for row in self.tasks} | {row.base for row in self.adapters})
