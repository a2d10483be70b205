"""A file of queries, answered: routed by a published snapshot, answered in chunks, stored as one Parquet file.

Knows: chunks of queries, the rows of the answers' file. Does not know: how queries are routed (flows/answer/routes),
how texts are made and kept (flows/outputs). Memory depends on the chunk, not on the file.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

from catalog.chunks import chunks
from catalog.tasks.answer import Answer, Failed
from catalog.tasks.metrics import METRICS
from catalog.tasks.task import content_hash
from flows.answer.answered import MakeAnswers
from flows.answer.options import AnswerOptions
from flows.answer.policy import PolicyPart
from flows.answer.prompts import Prompt, Prompts, prompts_of
from flows.answer.published_base import PublishedBase
from flows.answer.routes import Routes
from flows.screen.progress import Advance, stage
from lorauter.answers import ended_by
from lorauter.compositions.serving import served
from lorauter.engine.decoding import spelled as spelled_decoding
from lorauter.gates.protocol import GatedRoute
from lorauter.routers import MAJORITY, POLAR
from lorauter.routing.policy_route import PolicyRoute
from lorauter.routing.routes import Route, Routed
from warehouse.plans.conditions import make_each
from warehouse.plans.plan import Conditions, Work
from warehouse.queries.answer_parts import AnswerParts
from warehouse.queries.answer_rows import AnswerRow, PolicyChoice, RoutedTask, UsedAdapter
from warehouse.queries.queries import Query, read_queries
from warehouse.records.published_tasks import asked_tasks
from warehouse.schemas.answers import ANSWERS, POLICY_ANSWERS


@dataclass(frozen=True, slots=True)
class Answered:
    """What came of a file of queries.

    Args:
        answers: rows of the file.
        new: texts that had to be made.
        failed: rows that have an error.
        snapshot: id of the snapshot that routed.
    """

    answers: int
    new: int
    failed: int
    snapshot: str


def answer_queries(
    published: PublishedBase,
    queries: Path,
    out: Path,
    options: AnswerOptions,
    make: MakeAnswers,
    conditions: Conditions,
    rows: int,
    policy: PolicyPart | None = None,
) -> Answered:
    """Answer a file of queries by each router and write one Parquet file. Killed, it goes on where it was.

    Args:
        published: what routes.
        queries: .jsonl, .csv or .parquet with a column `input`, see warehouse/queries.
        out: the Parquet file to write.
        options: routers, prompts and decoding.
        make: gives the answers.
        conditions: what decides outputs here; the decoding is that of the options.
        rows: queries answered at a time.
        policy: who chooses where the router `polar` is among them.

    Raises:
        TaskError: the queries cannot be read.
    """
    batch = _Batch(published, options, make, conditions, policy)
    total = sum(1 for _ in read_queries(queries))
    parts, names = AnswerParts(out, POLICY_ANSWERS if policy else ANSWERS), []
    with stage("answer", total * len(options.routers), "answers") as advance:
        for number, chunk in enumerate(chunks(read_queries(queries, options.max_new_tokens), rows)):
            names.append(f"{number:06d}-{batch.name_of(chunk)}")
            if parts.has(names[-1]):
                batch.failed += parts.failed(names[-1])
                advance(len(chunk) * len(options.routers))
            else:
                parts.put(names[-1], batch.answer(chunk, advance))
    return Answered(parts.join(names), batch.new, batch.failed, published.snapshot.id)


class _Batch:
    """One run over a file of queries: the snapshot, its routers, and how texts are made."""

    def __init__(
        self,
        published: PublishedBase,
        options: AnswerOptions,
        make: MakeAnswers,
        conditions: Conditions,
        policy: PolicyPart | None,
    ) -> None:
        self._published, self._options, self._make, self._policy = published, options, make, policy
        self._composition = options.composition
        self._conditions = replace(conditions, decoding=spelled_decoding(options.decoding, options.stops))
        self._routes = Routes(published, [name for name in options.routers if name != MAJORITY])
        self._prompts: Prompts = prompts_of(options.template, published)
        self._tasks = asked_tasks(published.snapshot, published.index.base)
        self.new = self.failed = 0

    def name_of(self, chunk: Sequence[Query]) -> str:
        """Hash of all that a chunk's answers are made from."""
        options, snapshot = self._options, self._published.snapshot.id
        made_from: list[object] = [snapshot, options.routers, options.template, self._composition]
        made_from += [asdict(self._published.routing), repr(self._conditions)]
        made_from += self._policy.name if self._policy else []
        return content_hash([made_from, [asdict(query) for query in chunk]], 24)

    def answer(self, chunk: Sequence[Query], advance: Advance) -> list[AnswerRow]:
        """Rows of the chunk's answers, router by router."""
        sound = [query for query in chunk if not query.fault]
        rows: list[AnswerRow] = []
        for router in self._options.routers:
            if router == MAJORITY:
                rows += self._majority_rows(sound)
                advance(len(sound))
            else:
                rows += self._routed_rows(router, sound, advance)
            faulty = [query for query in chunk if query.fault]
            rows += [self._row(router, query, Route(()), Failed(query.fault)) for query in faulty]
            advance(len(faulty))
        self.failed += sum(row.error is not None for row in rows)
        return rows

    def _routed_rows(self, router: str, queries: Sequence[Query], advance: Advance) -> list[AnswerRow]:
        began = time.monotonic()
        routes = self._routes.of(router, queries)
        routed = time.monotonic()
        prompts = [self._prompts(query, route) for query, route in zip(queries, routes, strict=True)]
        work = [self._work(*row) for row in zip(queries, routes, prompts, strict=True)]
        given = self._options.stop is not None  # what a person says outweighs a format
        own_stops = [() if given else prompt.stops for prompt in prompts]
        conditions = [ended_by(stops, self._conditions, wanted) for stops, wanted in zip(own_stops, work, strict=True)]
        make = self._policy.make if self._policy and router == POLAR else self._make
        answers, new = make_each(make, work, conditions, advance)
        self.new += new
        each = max(len(queries), 1)
        route_seconds = (routed - began) / each
        answer_seconds = (time.monotonic() - routed) / each if new else None
        return [
            replace(
                self._row(router, query, route, answer),
                decoding=made_by.decoding,
                fallbacks=self._routes.fallbacks(route),
                route_seconds=route_seconds,
                answer_seconds=answer_seconds,
            )
            for query, route, answer, made_by in zip(queries, routes, answers, conditions, strict=True)
        ]

    def _work(self, query: Query, route: Routed, prompt: Prompt) -> Work:
        mixture, composition = served(route, self._composition)
        return Work(
            prompt=prompt.text,
            mixture=mixture,
            max_new_tokens=query.max_new_tokens,
            task=query.task,
            example=query.id,
            composition=composition,
            sample="" if self._options.decoding.greedy else query.id,
        )

    def _majority_rows(self, queries: Sequence[Query]) -> list[AnswerRow]:
        """The answers of a control that needs no model: each task's most frequent validation target."""
        targets = {name: task.majority for name, task in self._tasks.items()}
        return [self._row(MAJORITY, query, Route(()), targets.get(query.task or "", "")) for query in queries]

    def _row(self, router: str, query: Query, route: Routed, answer: Answer) -> AnswerRow:
        text = answer if isinstance(answer, str) else None  # no query has options, so all else failed
        gated, (mixture, composition) = isinstance(route, GatedRoute), served(route, self._composition)
        score = None
        if query.metric and query.target is not None and not query.fault:
            score = METRICS[query.metric].score(text or "", query.target)
        return AnswerRow(
            id=query.id,
            router=router,
            input=query.input,
            text=text,
            tasks=tuple(RoutedTask(match.task, match.similarity, match.weight) for match in route.tasks),
            adapters=tuple(UsedAdapter(key, None if gated else weight) for key, weight in mixture),
            composition=composition or None,
            decoding=self._conditions.decoding,
            confidence=route.confidence,
            task=query.task,
            target=query.target,
            metric=query.metric,
            score=score,
            error=answer.error if isinstance(answer, Failed) else None,
            snapshot=self._published.snapshot.id,
            choice=_choice(route),
        )


def _choice(route: Routed) -> PolicyChoice | None:
    """How a policy came to a route; None where none did."""
    if not isinstance(route, PolicyRoute):
        return None
    return PolicyChoice(**{field.name: getattr(route, field.name) for field in fields(PolicyChoice)})
