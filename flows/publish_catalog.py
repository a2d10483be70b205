"""Publish: the curated catalog as an immutable snapshot.

Knows: which rows a snapshot holds, the settings that enter its id. Does not know: how scores come about or become
rows (score_rows), how files are made whole (warehouse/snapshots).
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from catalog.errors import SnapshotError
from catalog.metrics import majority_answer, mean
from catalog.rules import RULES_VERSION, Base
from flows.embed import Embeddings
from flows.home import Home
from flows.progress import say, stage
from flows.score_adapters import Scores, TaskScores
from flows.score_rows import best_row, score_rows
from flows.validate_adapters import verdicts
from warehouse.schemas import SNAPSHOT
from warehouse.snapshots import Snapshot, current_snapshot, publish


def publish_catalog(home: Home, base: Base, scores: Scores) -> Snapshot:
    """Freeze verdicts, scores and task embeddings of a base and make them current, beside the other bases' own."""
    with stage("publish", len(scores.tasks), "tasks") as advance:
        embeddings = Embeddings(home)
        vectors, encoder = embeddings.tasks([s.task for s in scores.tasks]), embeddings.identity
        tables: dict[str, list[dict[str, Any]]] = {
            "tasks": [
                _task_row(base, s, encoder, vector.tolist()) for s, vector in zip(scores.tasks, vectors, strict=True)
            ],
            "inputs": [row for s in scores.tasks for row in _input_rows(base, s, embeddings)],
            "best": [best_row(base, s) for s in scores.tasks],
            "scores": [row for s in scores.tasks for row in score_rows(base, s)],
            "rungs": [{"base": base.id, "base_sha": base.sha, **row} for s in scores.tasks for row in s.race.rows],
            "adapters": verdicts(home, base),
        }
        others, contexts = _other_bases(home, base)
        for name, rows in tables.items():
            rows.extend(others.get(name, []))
        contexts[base.id] = _context(home, base)
        snapshot = publish(home.snapshots, tables, {"bases": contexts})
        advance(len(scores.tasks))
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


def _other_bases(home: Home, base: Base) -> tuple[dict[str, list[dict[str, Any]]], dict[str, Any]]:
    """Rows and contexts of the bases that the current snapshot holds beside this one."""
    if not (home.snapshots / "current").exists():
        return {}, {}
    try:
        current = current_snapshot(home.snapshots)
    except SnapshotError as error:
        say(f"{error.cause} What it held of other bases is not carried over: publish those again.")
        return {}, {}
    rows = {
        name: [row for row in current.read(name) if row["base"] != base.id] for name in SNAPSHOT if current.holds(name)
    }
    return rows, {name: made for name, made in current.context["bases"].items() if name != base.id}


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
