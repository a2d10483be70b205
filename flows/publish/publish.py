"""Publish: the curated catalog as an immutable snapshot.

Knows: which rows a snapshot holds, the settings that enter its id. Does not know: how scores come about or become
rows (flows/publish/rows), how files are made whole (warehouse/snapshots).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import Any

from catalog.bases.base import Base
from catalog.curation import FORCE, Act
from catalog.errors import PublishRefused, SnapshotError
from catalog.publish_gate import Gate, check
from catalog.rules.table import RULES_VERSION, Policy
from flows.publish.rows import best_row, curated_row, input_rows, score_rows, task_row, template_rows
from flows.publish.run_record import Run
from flows.score.embeddings import Embeddings
from flows.score.score import Racetrack, Scores
from flows.screen.progress import say, stage
from warehouse.ledger.ledger import Ledger
from warehouse.records.curation import record
from warehouse.records.formats import published_formats
from warehouse.records.published import BestRow, published, published_verdicts, read_published, sources
from warehouse.records.rungs import published_rungs
from warehouse.records.runs import keep_run, runs_with
from warehouse.records.verdicts import PoolVerdicts
from warehouse.schemas.snapshot import SNAPSHOT
from warehouse.snapshots.history import remove, spare
from warehouse.snapshots.snapshot import FindTrained, Snapshot, current_snapshot, publish
from warehouse.snapshots.sorted_tables import Part, joined


@dataclass(frozen=True, slots=True)
class JudgedPool:
    """The adapters of a base's pool with what was decided about them.

    Args:
        verdicts: the current ones of the base.
        policy: by which they were judged; part of the snapshot's id.
    """

    verdicts: PoolVerdicts
    policy: Policy


@dataclass(frozen=True, slots=True)
class PublishOptions:
    """What a publish is allowed and asked to do.

    Args:
        gate: how much worse than the published catalog it may be.
        author: who publishes against the gate, where somebody does.
        keep: snapshots kept afterwards; 0: all.
        weights_of: folder of an adapter's files, by key, where they travel with the snapshot; None where they do not.
        trained: gives the trained states that belong to what is published.
    """

    gate: Gate
    author: str
    keep: int = 0
    weights_of: Callable[[str], Path] | None = None
    trained: FindTrained | None = None


def publish_catalog(
    base: Base,
    scores: Scores,
    run: Run,
    track: Racetrack,
    pool: JudgedPool,
    ledger: Ledger,
    embeddings: Embeddings,
    snapshots: Path,
    options: PublishOptions,
    force: str = "",
) -> Snapshot:
    """Freeze verdicts, scores and task embeddings of a base and make them current, beside the other bases' own.

    Args:
        scores: of the base's tasks.
        run: what began and ends here; what it took is published and kept in the ledger.
        track: how the scores came about; part of the snapshot's id.
        pool: the verdicts that are published.
        ledger: where the run is kept, and who forced it.
        embeddings: of the tasks and their inputs.
        snapshots: folder of snapshots.
        options: what may be published, and what goes with it.
        force: a person's reason to publish what the gate would refuse; it is kept in the ledger.

    Raises PublishRefused where it is much worse than what is published (publish_gate).
    """
    with stage("publish", len(scores.tasks), "tasks") as advance:
        vectors, encoder = embeddings.tasks([s.task for s in scores.tasks]), embeddings.identity
        best = [best_row(base, s) for s in scores.tasks]
        tasks = [task_row(base, s, encoder, vector) for s, vector in zip(scores.tasks, vectors, strict=True)]
        bans = {key: ban for key in pool.verdicts.keys if (ban := scores.curation.ban(key[2]))}
        banned = {key[2] for key in bans}
        # Rows of a task at a time: of very many there is never more than Arrow holds.
        own: dict[str, Iterable[Part]] = {
            "tasks": [published("tasks", tasks)],
            "inputs": (published("inputs", input_rows(base, s, embeddings.inputs(s.task))) for s in scores.tasks),
            "best": [published("best", best)],
            "scores": (published("scores", score_rows(base, s, scores.curation)) for s in scores.tasks),
            "rungs": (published_rungs(base, s.race.rows) for s in scores.tasks),
            "adapters": published_verdicts(pool.verdicts, bans),
            "formats": [published_formats(ledger, base, [key for key in pool.verdicts.admitted if key not in banned])],
            "templates": [published("templates", template_rows(base, scores.tasks))],
            "curation": [published("curation", [curated_row(base, act) for act in scores.curation.held])],
        }
        current = _current(snapshots)
        before = read_published(current, BestRow) if current else []
        forced = _pass_gate(options.gate, [row for row in before if row.base == base.id], best, force)
        if forced:
            record(ledger, Act(FORCE, "", "", base.id, options.author, forced, datetime.now(UTC)))
        tables = {
            name: joined(
                chain(parts, [current.of_other_bases(name, base.id)] if current and current.holds(name) else []),
                SNAPSHOT[name][0],
            )
            for name, parts in own.items()
        }
        others = {name: made for name, made in current.context["bases"].items() if name != base.id} if current else {}
        keys = {row.adapter for row in (*best, *(row for row in before if row.base != base.id))} - {""}
        weights = {key: options.weights_of(key) for key in sorted(keys)} if options.weights_of else {}
        took = run.row(base, scores)
        snapshot = publish(
            snapshots,
            tables,
            {"bases": {**others, base.id: _context(base, track, pool.policy)}},
            {"sources": sources(ledger), "runs": runs_with(ledger, took)},
            weights,
            current,
            options.trained,
        )
        keep_run(ledger, took)
        advance(len(scores.tasks))
    for old in spare(snapshots, options.keep) if options.keep else ():
        remove(old)
    return snapshot


def _current(snapshots: Path) -> Snapshot | None:
    """What is published; None where nothing is, or where it cannot be read."""
    if not (snapshots / "current").exists():
        return None
    try:
        return current_snapshot(snapshots)
    except SnapshotError as error:
        say(f"{error.cause} What it held of other bases is not carried over: publish those again.")
        return None


def _pass_gate(gate: Gate, before: Sequence[BestRow], best: Sequence[BestRow], force: str) -> str:
    """The reason for which the gate was forced, "" where that was not needed. Raises PublishRefused."""
    try:
        check(gate, before, best)
    except PublishRefused as refused:
        if not force.strip():
            raise
        say(f"{refused.cause} Forced: {force}")
        return force.strip()
    return ""


def _context(base: Base, track: Racetrack, policy: Policy) -> dict[str, Any]:
    """How the catalog of a base came about, as JSON."""
    return {
        "base_sha": base.sha,
        "conditions": asdict(track.conditions),
        "strategy": repr(track.strategy),
        "report": track.report,
        "policy": {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(policy).items()},
        "rules_version": RULES_VERSION,
    }
