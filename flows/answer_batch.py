"""The flow `answer_batch`: route queries by a published snapshot, answer them, store the answers as Parquet.

Knows: chunks of queries, routers by name, the answers' table, what to do when an adapter has vanished from the hub.
Does not know: how a router weighs or the engine answers. Memory depends on the chunk, not on the file.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from prefect import flow

from catalog.answer import Answer, Failed
from catalog.errors import HubError, SettingError
from catalog.metrics import METRICS
from catalog.task import content_hash
from flows.answer_parts import AnswerParts
from flows.chunks import chunks
from flows.generate import RunShards, ensure_outputs
from flows.home import Home, open_home, open_router
from flows.progress import Advance, say, stage
from flows.prompts import Prompts, prompts_of
from flows.queries import Query, read_queries
from flows.refresh import shard_runner
from lorauter.compositions import MIXTURE, spelled
from lorauter.compositions.base import CompositionOptions
from lorauter.fallback import without
from lorauter.routers import ROUTERS
from lorauter.routing import Route, Router
from lorauter.task_index import TaskIndex, load_index
from warehouse.plans import Work
from warehouse.snapshots import Snapshot, current_snapshot, open_snapshot

MAJORITY = "majority"
Row = dict[str, Any]


@flow(name="answer-batch", persist_result=False, validate_parameters=False)
def answer_batch(
    queries: str,
    out: str,
    routers: Sequence[str] = ("lorauter",),
    snapshot: str | None = None,
    template: str = "task",
    compose: str = MIXTURE,
    density: float = 0.5,
    settings: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Answer a file of queries by each router and write one Parquet file. Killed, it goes on where it was.

    Args:
        queries: .jsonl, .csv or .parquet with a column `input`, and optionally id, task, target, metric,
            max_new_tokens. out: the Parquet file to write. routers: names of `lorauter.routers.ROUTERS`, or
            "majority": the most frequent validation target of the query's task, without a model.
        snapshot: folder of a snapshot; the current one where left out. settings: as for `refresh`.
        template: how an input becomes a prompt, see flows/prompts. compose: a name of
            `lorauter.compositions.COMPOSITIONS`; density: of the merges that thin out.

    Returns:
        How many answers the file holds, how many were newly made, how many rows have an error, and the snapshot's id.
    """
    check_routers(routers)
    home = open_home(**(settings or {}))
    opened = open_snapshot(Path(snapshot)) if snapshot else current_snapshot(home.snapshots)
    batch = _Batch(home, opened, routers, template, spelled(compose, CompositionOptions(density=density)))
    total = sum(1 for _ in read_queries(Path(queries)))
    parts, names = AnswerParts(Path(out)), []
    with stage("answer", total * len(routers), "answers") as advance:
        for number, chunk in enumerate(chunks(read_queries(Path(queries)), home.settings.answer_rows)):
            names.append(f"{number:06d}-{batch.name_of(chunk)}")
            if parts.has(names[-1]):
                advance(len(chunk) * len(routers))
            else:
                parts.put(names[-1], batch.answer(chunk, advance))
    answers = parts.join(names)
    return {"answers": answers, "new": batch.new, "failed": batch.failed, "snapshot": opened.id, "out": out}


def check_routers(routers: Sequence[str]) -> None:
    """Raise SettingError for a router that does not exist."""
    for name in routers:
        if name not in (*ROUTERS, MAJORITY):
            raise SettingError(f"There is no router {name!r}.", f"Choose one of: {', '.join((*ROUTERS, MAJORITY))}.")


class _Batch:
    """One run over a file of queries: the snapshot, its routers, and what has turned out to be gone."""

    def __init__(self, home: Home, snapshot: Snapshot, routers: Sequence[str], template: str, composition: str) -> None:
        self._home, self._snapshot, self._names = home, snapshot, tuple(routers)
        self._whole = load_index(snapshot, home.settings.base)
        self._conditions = home.conditions(self._whole.base, self._whole.base_sha)
        self._run: RunShards = shard_runner(home)
        self._template, self._composition = template, composition
        self._prompts: Prompts = prompts_of(template, home, snapshot, self._whole)
        self._majority = {row["task"]: row["majority"] for row in snapshot.read("tasks")}
        self._place = {task: number for number, task in enumerate(self._whole.tasks)}
        self._truth: dict[str, str] = {}
        self._here: set[str] = set()  # adapters whose weights are on this machine
        self._gone: set[str] = set()
        self._open()
        self.new = self.failed = 0

    def name_of(self, chunk: Sequence[Query]) -> str:
        """Hash of all that a chunk's answers are made from."""
        settings = self._home.settings
        made_from: list[object] = [self._snapshot.id, self._names, self._template, self._composition]
        made_from += [asdict(settings.routing), repr(self._conditions)]
        return content_hash([made_from, [asdict(query) for query in chunk]], 24)

    def answer(self, chunk: Sequence[Query], advance: Advance) -> list[Row]:
        """Rows of the chunk's answers, router by router."""
        asked = [query for query in chunk if not query.fault]
        rows = []
        for name in self._names:
            made = self._majority_rows(asked) if name == MAJORITY else self._routed_rows(name, asked, advance)
            rows += made + [self._row(name, query, Route(()), Failed(query.fault)) for query in chunk if query.fault]
            advance(len(chunk) - (0 if name == MAJORITY else len(asked)))
        self.failed += sum(row["error"] is not None for row in rows)
        return rows

    def _routed_rows(self, name: str, asked: Sequence[Query], advance: Advance) -> list[Row]:
        began = time.monotonic()
        routes = self._routes(name, asked)
        routed = time.monotonic()
        work = [
            Work(
                prompt=self._prompts(query, route),
                mixture=route.mixture,
                max_new_tokens=query.max_new_tokens,
                task=query.task,
                example=query.id,
                composition=self._composition,
            )
            for query, route in zip(asked, routes, strict=True)
        ]
        answers, new = ensure_outputs(self._home, work, self._conditions, self._run, advance)
        self.new += new
        each = max(len(asked), 1)
        seconds = {
            "route_seconds": (routed - began) / each,
            "answer_seconds": (time.monotonic() - routed) / each if new else None,
        }
        return [
            {**self._row(name, query, route, answer), **seconds, "fallbacks": self._fallbacks(route)}
            for query, route, answer in zip(asked, routes, answers, strict=True)
        ]

    def _routes(self, name: str, asked: Sequence[Query]) -> list[Route]:
        """Routes whose adapters can all be had: where one has vanished, its tasks take their next best."""
        self._truth.clear()
        self._truth.update((query.input, query.task) for query in asked if query.task)
        while True:
            routes = self._routers[name].route([query.input for query in asked])
            if not self._vanished({key for route in routes for key, _ in route.mixture}):
                return routes
            self._open()

    def _vanished(self, keys: set[str]) -> bool:
        """Whether an adapter that is not here can no longer be had either."""
        for key in sorted(keys - self._here):
            try:
                self._home.fetch_adapter(key)
                self._here.add(key)
            except HubError as error:
                if not self._home.hub.refuses(error):
                    raise
                say(f"{key} has vanished from the hub; its tasks take their next best adapter.")
                self._gone.add(key)
        return bool(keys & self._gone)

    def _open(self) -> None:
        """The routers, over what can still be had."""
        self._index: TaskIndex = without(self._whole, self._snapshot, self._gone)
        self._routers: Mapping[str, Router] = {
            name: open_router(self._home, self._snapshot, name, self._truth, self._gone)
            for name in self._names
            if name != MAJORITY
        }

    def _fallbacks(self, route: Route) -> list[dict[str, str]]:
        matched = [self._place[match.task] for match in route.tasks]
        return [
            {"task": self._whole.tasks[n], "gone": self._whole.best[n], "used": self._index.best[n]}
            for n in matched
            if self._whole.best[n] != self._index.best[n]
        ]

    def _majority_rows(self, asked: Sequence[Query]) -> list[Row]:
        """The answers of a control that needs no model: each task's most frequent validation target."""
        return [self._row(MAJORITY, query, Route(()), self._majority.get(query.task or "", "")) for query in asked]

    def _row(self, router: str, query: Query, route: Route, answer: Answer) -> Row:
        text = answer if isinstance(answer, str) else None  # no query has options, so all else failed
        scored = query.metric and query.target is not None and not query.fault
        return {
            "id": query.id,
            "router": router,
            "input": query.input,
            "text": text,
            "tasks": [{"task": m.task, "similarity": m.similarity, "weight": m.weight} for m in route.tasks],
            "adapters": [{"adapter": key, "weight": weight} for key, weight in route.mixture],
            "composition": self._composition or None,
            "confidence": route.confidence,
            "task": query.task,
            "target": query.target,
            "metric": query.metric,
            "score": METRICS[str(query.metric)].score(text or "", str(query.target)) if scored else None,
            "error": answer.error if isinstance(answer, Failed) else None,
            "fallbacks": [],
            "snapshot": self._snapshot.id,
        }
