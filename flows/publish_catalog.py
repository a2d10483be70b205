"""Publish: the curated catalog as an immutable snapshot.

Knows: which rows a snapshot holds, task embeddings, the settings that enter its id. Does not know: how scores
come about, how files are made whole (warehouse/snapshots).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from catalog.adapter import AdapterId
from catalog.errors import SnapshotError
from catalog.metrics import majority_answer, mean
from catalog.rules import RULES_VERSION, Base
from catalog.task import Task, content_hash
from flows.home import Home
from flows.progress import say, stage
from flows.score_adapters import Scores, TaskScores, majority_score
from flows.validate_adapters import verdicts
from lorauter.halving import split_examples
from warehouse.schemas import SNAPSHOT
from warehouse.snapshots import Snapshot, current_snapshot, publish


def publish_catalog(home: Home, base: Base, scores: Scores) -> Snapshot:
    """Freeze verdicts, scores and task embeddings of a base and make them current, beside the other bases' own."""
    with stage("publish", len(scores.tasks), "tasks") as advance:
        encoder, embeddings = embed_tasks(home, [s.task for s in scores.tasks])
        tables: dict[str, list[dict[str, Any]]] = {
            "tasks": [
                _task_row(home, base, s, encoder, embedding)
                for s, embedding in zip(scores.tasks, embeddings, strict=True)
            ],
            "best": [_best_row(base, s) for s in scores.tasks],
            "rungs": [row for s in scores.tasks for row in s.rungs],
            "adapters": verdicts(home, base),
        }
        others, contexts = _other_bases(home, base)
        for name, rows in tables.items():
            rows.extend(others.get(name, []))
        contexts[base.id] = _context(home, base)
        snapshot = publish(home.snapshots, tables, {"bases": contexts})
        advance(len(scores.tasks))
    return snapshot


def embed_tasks(home: Home, tasks: Sequence[Task]) -> tuple[dict[str, str], list[list[float]]]:
    """The encoder's identity, and t_j = mean of the embeddings of each task's validation inputs.

    Embeddings are kept by encoder and validation set, so an unchanged task needs no encoder.
    """
    settings = home.settings
    sha, _ = home.hub.repo_files(settings.encoder, settings.encoder_revision)
    store = home.root / "embeddings"
    names = [content_hash([settings.encoder, sha, [e.input for e in task.validation]]) for task in tasks]
    identity = store / f"{content_hash([settings.encoder, sha])}.hash"
    if not identity.exists() or not all((store / f"{name}.npy").exists() for name in names):
        _embed(home, sha, dict(zip(names, tasks, strict=True)))
    encoder = {"id": settings.encoder, "sha": sha, "hash": identity.read_text(encoding="utf-8")}
    return encoder, [np.load(store / f"{name}.npy", allow_pickle=False).tolist() for name in names]


def _embed(home: Home, sha: str, tasks: dict[str, Task]) -> None:
    from lorauter.encoder import Encoder
    from warehouse.files import write_atomically, write_text

    store = home.root / "embeddings"
    encoder = Encoder(home.fetch_model(home.settings.encoder, sha), device=home.settings.device)
    for name, task in tasks.items():
        vector = encoder.encode([e.input for e in task.validation]).mean(axis=0, dtype=np.float64).astype(np.float32)

        def save(part: Any, vector: Any = vector) -> None:
            with part.open("wb") as file:
                np.save(file, vector, allow_pickle=False)

        write_atomically(store / f"{name}.npy", save)
    write_text(store / f"{content_hash([home.settings.encoder, sha])}.hash", encoder.hash)


def _task_row(
    home: Home, base: Base, scores: TaskScores, encoder: dict[str, str], embedding: list[float]
) -> dict[str, Any]:
    task = scores.task
    majority = majority_answer([e.target for e in task.validation])
    _, report = split_examples(task, home.settings.halving)
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
        "majority": majority,
        "majority_score": majority_score(task, majority, report),
        "encoder": encoder["id"],
        "encoder_sha": encoder["sha"],
        "encoder_hash": encoder["hash"],
        "embedding": embedding,
    }


def _best_row(base: Base, scores: TaskScores) -> dict[str, Any]:
    adapter = AdapterId.parse(scores.best) if scores.best else None
    reported, selected = mean(scores.report), mean(scores.selection)
    lift = mean([own - plain for own, plain in zip(scores.report, scores.base_report, strict=True)])
    return {
        "base": base.id,
        "base_sha": base.sha,
        "task": scores.task.name,
        "adapter": scores.best,
        "repo": adapter.repo if adapter else None,
        "path": adapter.path if adapter else None,
        "sha": adapter.sha if adapter else None,
        "score": reported.mean,
        "standard_error": reported.standard_error,
        "n": reported.n,
        "base_score": mean(scores.base_report).mean,
        "lift": lift.mean,
        "lift_standard_error": lift.standard_error,
        "selection_score": selected.mean,
        "selection_n": selected.n,
    }


def _other_bases(home: Home, base: Base) -> tuple[dict[str, list[dict[str, Any]]], dict[str, Any]]:
    """Rows and contexts of the bases that the current snapshot holds beside this one."""
    if not (home.snapshots / "current").exists():
        return {}, {}
    try:
        current = current_snapshot(home.snapshots)
    except SnapshotError as error:
        say(f"{error.cause} What it held of other bases is not carried over: publish those again.")
        return {}, {}
    rows = {name: [row for row in current.read(name) if row["base"] != base.id] for name in SNAPSHOT}
    return rows, {name: made for name, made in current.context["bases"].items() if name != base.id}


def _context(home: Home, base: Base) -> dict[str, Any]:
    settings = home.settings
    return {
        "base_sha": base.sha,
        "conditions": asdict(home.conditions(base.id, base.sha)),
        "halving": asdict(settings.halving) | {"rungs": list(settings.halving.rungs)},
        "policy": {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(settings.policy).items()},
        "rules_version": RULES_VERSION,
    }
