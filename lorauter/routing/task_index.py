"""The task index: what a router reads of a snapshot.

Knows: tasks of one base with their embeddings, published and declared adapters. Does not know: how to embed a
query, how to weigh tasks. Whoever knows the routers' names imports this: what reads Parquet is imported where it reads.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from catalog.adapters.adapter import AdapterId
from catalog.errors import SettingError, SnapshotError
from catalog.tasks.task import DEFAULT_TEMPLATE

if TYPE_CHECKING:
    from warehouse.snapshots.snapshot import Snapshot


@dataclass(frozen=True, slots=True)
class EncoderId:
    """A sentence encoder: repo id, commit, the hash of its weights and settings, and the text put before every text."""

    id: str
    sha: str
    hash: str
    prompt: str = ""


@dataclass(frozen=True, slots=True)
class TaskIndex:
    """Tasks of one (base, base_sha).

    Args:
        tasks: names.
        embeddings: float32 (tasks, d), the mean embeddings t_j, not normalised.
        best: published adapter key by task, "" for the base.
        declared: the task's own adapter's key, or None.
        encoder: what made the embeddings; queries must be embedded by the same.
    """

    base: str
    base_sha: str
    tasks: tuple[str, ...]
    embeddings: npt.NDArray[np.float32]
    best: tuple[str, ...]
    declared: tuple[str | None, ...]
    encoder: EncoderId

    @property
    def adapters(self) -> tuple[str, ...]:
        """Distinct published adapters, sorted, without the base."""
        return tuple(sorted(set(self.best) - {""}))

    def places(self, names: Sequence[str | None]) -> list[int | None]:
        """Where tasks stand in the index; None for None. Raises KeyError for a name that is not in it."""
        places: dict[str | None, int | None] = {None: None}
        places |= {task: place for place, task in enumerate(self.tasks)}
        return [places[name] for name in names]

    def similarities(self, queries: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Cosine of queries (n, d), L2-normalised, to every task: float32 (n, tasks)."""
        norms = np.linalg.norm(self.embeddings, axis=1, keepdims=True)
        return np.asarray(queries @ (self.embeddings / np.maximum(norms, 1e-12)).T, dtype=np.float32)


@dataclass(frozen=True, slots=True)
class TaskInputs:
    """Validation inputs of an index's tasks.

    Args:
        texts: n inputs.
        owners: int64 (n,), each one's task as its place in the index.
        embeddings: unit vectors, float32 (n, d).
        targets: one an input, None where the snapshot has none.
        templates: one a task of the index.
    """

    texts: tuple[str, ...]
    owners: npt.NDArray[np.int64]
    embeddings: npt.NDArray[np.float32]
    targets: tuple[str | None, ...] = ()
    templates: tuple[str, ...] = ()


def check_inputs(router: str, index: TaskIndex, inputs: TaskInputs, tasks: int, each: int) -> None:
    """Raises SettingError where there are fewer tasks, or fewer inputs of one, than a router learns from."""
    counts = np.bincount(inputs.owners, minlength=len(index.tasks))
    if len(counts) < tasks or counts.min() < each:
        raise SettingError(
            f"The router {router} needs {tasks} tasks with {each} validation inputs each.",
            "Add some with `lorauter tasks add` and refresh, or use the router `lorauter`.",
        )


def load_inputs(snapshot: Snapshot, index: TaskIndex) -> TaskInputs:
    """The inputs behind an index. Raises SnapshotError where the snapshot is from before they were kept."""
    from warehouse.records.published import InputRow, read_published
    from warehouse.records.published_tasks import asked_tasks

    places = {task: place for place, task in enumerate(index.tasks)}
    rows = read_published(snapshot, InputRow, index.base) if snapshot.holds("inputs") else []
    if not rows:
        raise SnapshotError(
            f"The snapshot {snapshot.folder} holds no validation inputs of {index.base}.",
            "This router is fitted on them: publish again with `lorauter publish`, or use the router `lorauter`.",
        )
    templates = {name: task.template for name, task in asked_tasks(snapshot, index.base).items()}
    return TaskInputs(
        texts=tuple(row.input for row in rows),
        owners=np.asarray([places[row.task] for row in rows], dtype=np.int64),
        embeddings=np.asarray([row.embedding for row in rows], dtype=np.float32),
        targets=tuple(row.target for row in rows),
        templates=tuple(templates.get(task, DEFAULT_TEMPLATE) for task in index.tasks),
    )


def load_index(snapshot: Snapshot, base: str | None = None) -> TaskIndex:
    """The index of one base of a snapshot; `base` may be left out where there is one only."""
    from warehouse.records.published import AdapterRow, BestRow, TaskRow, read_published

    tasks = read_published(snapshot, TaskRow)
    base = _choose_base(sorted({row.base for row in tasks}), base)
    rows = [row for row in tasks if row.base == base]
    best = {row.task: row.adapter for row in read_published(snapshot, BestRow, base)}
    admitted = [row.adapter for row in read_published(snapshot, AdapterRow, base) if row.admitted]
    first = rows[0]
    return TaskIndex(
        base=base,
        base_sha=first.base_sha,
        tasks=tuple(row.task for row in rows),
        embeddings=np.asarray([row.embedding for row in rows], dtype=np.float32),
        best=tuple(best[row.task] for row in rows),
        declared=tuple(_own(row.declared, admitted) for row in rows),
        encoder=EncoderId(first.encoder, first.encoder_sha, first.encoder_hash, first.encoder_prompt or ""),
    )


def load_means(snapshot: Snapshot, index: TaskIndex) -> dict[tuple[str, str], float]:
    """(task, adapter) → mean on the selection examples that the adapter met, "" for the base."""
    from warehouse.records.published import ScoreRow, read_published

    return {(row.task, row.adapter): row.mean for row in read_published(snapshot, ScoreRow, index.base)}


def load_pool(snapshot: Snapshot, index: TaskIndex) -> tuple[str, ...]:
    """Every admitted adapter of an index's base, sorted: the published ones and all that they won over."""
    from warehouse.records.published import AdapterRow, read_published

    return tuple(sorted({row.adapter for row in read_published(snapshot, AdapterRow, index.base) if row.admitted}))


def load_doras(snapshot: Snapshot, index: TaskIndex) -> frozenset[str]:
    """The adapters of an index's base that are DoRA."""
    from warehouse.records.published import AdapterRow, read_published

    return frozenset(row.adapter for row in read_published(snapshot, AdapterRow, index.base) if row.dora)


def _own(declared: str | None, admitted: Sequence[str]) -> str | None:
    """The key of the adapter that a task declares its own, if it was admitted."""
    return next((key for key in admitted if AdapterId.parse(key).is_called(declared)), None)


def _choose_base(bases: Sequence[str], wanted: str | None) -> str:
    if wanted is None and len(bases) == 1:
        return bases[0]
    if wanted in bases:
        return str(wanted)
    problem = f"The snapshot has no base {wanted!r}." if wanted else "The snapshot has several bases."
    raise SettingError(problem, f"Name one of: {', '.join(bases)}.")
