"""Publish: the curated catalog as an immutable snapshot.

Knows: which rows a snapshot holds, the settings that enter its id. Does not know: how scores come about or become
rows (score_rows), how files are made whole (warehouse/snapshots).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, replace
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import Any

from catalog.adapters.adapter import Finding
from catalog.curation import FORCE, Act, Curation
from catalog.errors import PublishRefused, SnapshotError
from catalog.publish_gate import Rows, check
from catalog.rules.table import RULES_VERSION, Base
from catalog.rules.verdict import Verdict
from catalog.tasks.metrics import majority_answer, mean
from flows.home.home import Home
from flows.publish.rows import best_row, score_rows
from flows.publish.run_record import Run
from flows.score.embeddings import Embeddings
from flows.score.score import Scores, TaskScores
from flows.screen.progress import say, stage
from flows.tasks.curate import whoami
from warehouse.records.curation import record
from warehouse.records.verdicts import PoolVerdicts, row_of_verdict
from warehouse.schemas.tables import LEDGER, RUNS, SNAPSHOT
from warehouse.snapshots.history import remove, spare
from warehouse.snapshots.snapshot import Snapshot, current_snapshot, publish
from warehouse.snapshots.sorted_tables import Part, joined


def publish_catalog(home: Home, base: Base, scores: Scores, run: Run, force: str = "") -> Snapshot:
    """Freeze verdicts, scores and task embeddings of a base and make them current, beside the other bases' own.

    Args:
        run: what began and ends here; what it took is published and kept in the ledger.
        force: a person's reason to publish what the gate would refuse; it is kept in the ledger.

    Raises PublishRefused where it is much worse than what is published (publish_gate).
    """
    with stage("publish", len(scores.tasks), "tasks") as advance:
        embeddings = Embeddings(home)
        vectors, encoder = embeddings.tasks([s.task for s in scores.tasks]), embeddings.identity
        best = [best_row(base, s) for s in scores.tasks]
        own: dict[str, Iterable[Part]] = {
            "tasks": [[_task_row(base, s, encoder, v.tolist()) for s, v in zip(scores.tasks, vectors, strict=True)]],
            "inputs": (_input_rows(base, s, embeddings) for s in scores.tasks),
            "best": [best],
            "scores": (score_rows(base, s, scores.curation) for s in scores.tasks),
            "rungs": ([{"base": base.id, "base_sha": base.sha, **row} for row in s.race.rows] for s in scores.tasks),
            "adapters": _judged(home, base, scores.curation),
            "curation": [[_curated(base, act) for act in scores.curation.held]],
        }  # rows of a task at a time: of very many there is never more than Arrow holds
        current = _current(home)
        _pass_gate(home, base, current, best, force)
        contexts = {**_other_contexts(current, base), base.id: _context(home, base)}
        tables = {
            name: joined(chain(rows, _others(current, name, base)), SNAPSHOT[name][0]) for name, rows in own.items()
        }
        weights = _weights(home, tables["best"].to_pylist()) if home.settings.with_weights else {}
        took = run.row(base, scores)
        came_about = {"sources": _sources(home), "runs": joined([home.ledger.read("runs"), [took]], RUNS)}
        snapshot = publish(home.snapshots, tables, {"bases": contexts}, came_about, weights, current)
        home.ledger.append("runs", [took])
        advance(len(scores.tasks))
    for old in spare(home.snapshots, home.settings.keep_snapshots) if home.settings.keep_snapshots else ():
        remove(old)
    return snapshot


def _task_row(base: Base, scores: TaskScores, encoder: dict[str, str], embedding: list[float]) -> dict[str, Any]:
    task = scores.task
    return {
        "base": base.id,
        "base_sha": base.sha,
        "task": task.name,
        "task_hash": task.hash,
        "metric": task.metric,
        "template": task.template,
        "max_new_tokens": task.max_new_tokens,
        "description": task.description,
        "declared": task.adapter,
        "n_validation": len(task.validation),
        "majority": majority_answer([e.target for e in task.validation]),
        "majority_score": mean(scores.report.majority).mean,
        "encoder": encoder["id"],
        "encoder_sha": encoder["sha"],
        "encoder_prompt": encoder["prompt"],
        "encoder_hash": encoder["hash"],
        "embedding": embedding,
    }


def _input_rows(base: Base, scores: TaskScores, embeddings: Embeddings) -> list[dict[str, Any]]:
    task = scores.task
    vectors = embeddings.inputs(task)
    known = {"base": base.id, "base_sha": base.sha, "task": task.name}
    return [
        {**known, "number": number, "input": e.input, "target": e.target, "embedding": v}
        for number, (e, v) in enumerate(zip(task.validation, vectors.tolist(), strict=True))
    ]


def _judged(home: Home, base: Base, curation: Curation) -> Iterator[Part]:
    """The verdicts as they are published: the rules', unless a person banned the adapter."""
    judged = PoolVerdicts(home.ledger, home.wanted, base)
    bans = {key: ban for key in judged.keys if (ban := curation.ban(key[2]))}
    yield from judged.tables(key for key in judged.keys if key not in bans)
    yield [row_of_verdict(_banned(verdict, bans[verdict.key])) for verdict in judged.of(bans)]


def _banned(verdict: Verdict, ban: Act) -> Verdict:
    return replace(verdict, findings=(Finding("banned", str(ban)), *verdict.findings))


def _curated(base: Base, act: Act) -> dict[str, Any]:
    told = {name: getattr(act, name) for name in ("kind", "adapter", "task", "author", "reason")}
    return {"base": base.id, "base_sha": base.sha, **told, "decided": act.at}


def _current(home: Home) -> Snapshot | None:
    """What is published; None where nothing is, or where it cannot be read."""
    if not (home.snapshots / "current").exists():
        return None
    try:
        return current_snapshot(home.snapshots)
    except SnapshotError as error:
        say(f"{error.cause} What it held of other bases is not carried over: publish those again.")
        return None


def _pass_gate(home: Home, base: Base, current: Snapshot | None, best: Rows, force: str) -> None:
    before = [row for row in current.read("best") if row["base"] == base.id] if current else []
    try:
        check(home.settings.gate, before, best)
    except PublishRefused as refused:
        if not force.strip():
            raise
        say(f"{refused.cause} Forced: {force}")
        record(home.ledger, Act(FORCE, "", "", base.id, whoami(home.settings.author), force.strip(), datetime.now(UTC)))


def _others(current: Snapshot | None, table: str, base: Base) -> list[Part]:
    """The rows of the bases that the current snapshot holds beside this one."""
    return [current.of_other_bases(table, base.id)] if current and current.holds(table) else []


def _other_contexts(current: Snapshot | None, base: Base) -> dict[str, Any]:
    """The settings that made them."""
    return {name: made for name, made in current.context["bases"].items() if name != base.id} if current else {}


def _sources(home: Home) -> list[dict[str, str]]:
    """The ledger's fragments that there are: what a snapshot was made from."""
    return [{"table": table, "fragment": name} for table in LEDGER for name in home.ledger.names(table)]


def _weights(home: Home, best: Rows) -> dict[str, Path]:
    """The published adapters' folders."""
    keys = sorted({row["adapter"] for row in best} - {""})
    return {key: home.fetch_adapter(key) for key in keys}


def _context(home: Home, base: Base) -> dict[str, Any]:
    settings = home.settings
    return {
        "base_sha": base.sha,
        "conditions": asdict(home.conditions(base.id, base.sha)),
        "strategy": repr(settings.chosen_strategy),
        "report": settings.report,
        "policy": {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(settings.policy).items()},
        "rules_version": RULES_VERSION,
    }
