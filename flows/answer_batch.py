"""The flow `answer_batch`: route queries by a published snapshot, answer them, store the answers as Parquet.

Knows: chunks of queries, the answers' table. Does not know: how queries are routed (flows/answer/routes), how texts
are made and kept (flows/outputs/shards). Memory depends on the chunk, not on the file.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from catalog.chunks import chunks
from catalog.tasks.answer import Answer, Failed
from catalog.tasks.metrics import METRICS
from catalog.tasks.task import content_hash
from flows.answer.checks import checked_answers
from flows.answer.prompts import Prompts, prompts_of
from flows.answer.routes import Routes
from flows.home.home import Home, open_home
from flows.home.parts import shard_runner
from flows.outputs.shards import RunShards, ensure_outputs
from flows.prefect_runtime.secret_parameters import flow_without_secrets
from flows.screen.progress import Advance, stage
from lorauter.compositions import MIXTURE
from lorauter.compositions.serving import served
from lorauter.engine.decoding import STOPS, Decoding
from lorauter.engine.decoding import spelled as spelled_decoding
from lorauter.gates.protocol import GatedRoute
from lorauter.routers import MAJORITY
from lorauter.routing.routes import Route, Routed
from warehouse.plans.plan import Work
from warehouse.queries.answer_parts import AnswerParts
from warehouse.queries.queries import NEW_TOKENS, Query, read_queries
from warehouse.snapshots.snapshot import Snapshot

Row = dict[str, Any]


@flow_without_secrets(name="answer-batch", persist_result=False, validate_parameters=False)
def answer_batch(
    queries: str,
    out: str,
    routers: Sequence[str] = ("lorauter",),
    snapshot: str | None = None,
    template: str = "task",
    compose: str = MIXTURE,
    density: float = 0.5,
    settings: dict[str, Any] | None = None,
    sampling: dict[str, Any] | None = None,
    stop: str | Sequence[str] = STOPS,
    max_new_tokens: int = NEW_TOKENS,
) -> dict[str, Any]:
    """Answer a file of queries by each router and write one Parquet file. Killed, it goes on where it was.

    Args:
        queries: .jsonl, .csv or .parquet with a column `input`, and optionally id, task, target, metric,
            max_new_tokens. out: the Parquet file to write. routers: names of `lorauter.routers.ROUTERS`, or
            "majority": the most frequent validation target of the query's task, without a model.
        snapshot: a folder, an id or a date; the current one where left out. settings: as for `refresh`.
        template: how an input becomes a prompt, see flows/answer/prompts. compose: a name of
            `lorauter.compositions.COMPOSITIONS`; density: of the merges that thin out.
        sampling: temperature, top_p, top_k and seed of `lorauter.engine.decoding.Decoding`; greedy where left out. A
        row's
            draws depend on its own prompt, adapters and id: rows with one id and one input get one text.
        stop: texts that end an answer, see `lorauter.engine.stopping.cut_at_stop`; () leaves it to end-of-text and the
        bound.
        max_new_tokens: bound of an answer; a row's own column max_new_tokens wins.

    Returns:
        How many answers the file holds, how many were newly made, how many rows of the file have an error, and the
        snapshot's id.

    Raises:
        SettingError: an argument or setting is wrong. TaskError: the queries cannot be read.
    """
    composition, decoding = checked_answers(routers, compose, density, sampling, stop, max_new_tokens)
    home = open_home(**(settings or {}))
    opened = home.snapshot(snapshot)
    batch = _Batch(home, opened, routers, template, composition, decoding, stop)
    total = sum(1 for _ in read_queries(Path(queries)))
    parts, names = AnswerParts(Path(out)), []
    with stage("answer", total * len(routers), "answers") as advance:
        asked = read_queries(Path(queries), max_new_tokens)
        for number, chunk in enumerate(chunks(asked, home.settings.answer_rows)):
            names.append(f"{number:06d}-{batch.name_of(chunk)}")
            if parts.has(names[-1]):
                batch.failed += parts.failed(names[-1])
                advance(len(chunk) * len(routers))
            else:
                parts.put(names[-1], batch.answer(chunk, advance))
    answers = parts.join(names)
    return {"answers": answers, "new": batch.new, "failed": batch.failed, "snapshot": opened.id, "out": out}


class _Batch:
    """One run over a file of queries: the snapshot, its routers, and how texts are made."""

    def __init__(
        self,
        home: Home,
        snapshot: Snapshot,
        routers: Sequence[str],
        template: str,
        composition: str,
        decoding: Decoding,
        stop: str | Sequence[str],
    ) -> None:
        self._home, self._snapshot, self._names = home, snapshot, tuple(routers)
        self._routes = Routes(home, snapshot, [name for name in routers if name != MAJORITY])
        index, self._decoding = self._routes.index, decoding
        made = home.conditions(index.base, index.base_sha)
        self._conditions = replace(made, decoding=spelled_decoding(decoding, stop))
        self._run: RunShards = shard_runner(home)
        self._template, self._composition = template, composition
        self._prompts: Prompts = prompts_of(template, home, snapshot, index)
        rows = [row for row in snapshot.read("tasks") if row["base"] == index.base]  # examples may differ by base
        self._majority = {row["task"]: row["majority"] for row in rows}
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
        routes = self._routes.of(name, asked)
        routed = time.monotonic()
        work = [self._work(query, route) for query, route in zip(asked, routes, strict=True)]
        answers, new = ensure_outputs(self._home, work, self._conditions, self._run, advance)
        self.new += new
        each = max(len(asked), 1)
        seconds = {
            "route_seconds": (routed - began) / each,
            "answer_seconds": (time.monotonic() - routed) / each if new else None,
        }
        return [
            {**self._row(name, query, route, answer), **seconds, "fallbacks": self._routes.fallbacks(route)}
            for query, route, answer in zip(asked, routes, answers, strict=True)
        ]

    def _work(self, query: Query, route: Routed) -> Work:
        mixture, composition = served(route, self._composition)
        return Work(
            prompt=self._prompts(query, route),
            mixture=mixture,
            max_new_tokens=query.max_new_tokens,
            task=query.task,
            example=query.id,
            composition=composition,
            sample="" if self._decoding.greedy else query.id,
        )

    def _majority_rows(self, asked: Sequence[Query]) -> list[Row]:
        """The answers of a control that needs no model: each task's most frequent validation target."""
        return [self._row(MAJORITY, query, Route(()), self._majority.get(query.task or "", "")) for query in asked]

    def _row(self, router: str, query: Query, route: Routed, answer: Answer) -> Row:
        text = answer if isinstance(answer, str) else None  # no query has options, so all else failed
        gated, (mixture, composition) = isinstance(route, GatedRoute), served(route, self._composition)
        scored = query.metric and query.target is not None and not query.fault
        return {
            "id": query.id,
            "router": router,
            "input": query.input,
            "text": text,
            "tasks": [{"task": m.task, "similarity": m.similarity, "weight": m.weight} for m in route.tasks],
            "adapters": [{"adapter": key, "weight": None if gated else weight} for key, weight in mixture],
            "composition": composition or None,
            "decoding": self._conditions.decoding,
            "confidence": route.confidence,
            "task": query.task,
            "target": query.target,
            "metric": query.metric,
            "score": METRICS[str(query.metric)].score(text or "", str(query.target)) if scored else None,
            "error": answer.error if isinstance(answer, Failed) else None,
            "fallbacks": [],
            "snapshot": self._snapshot.id,
        }
