"""The flow `answer_batch`: route queries by a published snapshot, answer them, store the answers as Parquet.

Knows: queries, routers by name, the answers' table. Does not know: how a router weighs or the engine answers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prefect import flow

from catalog.answer import Answer, Failed
from catalog.errors import SettingError
from catalog.metrics import METRICS
from catalog.task import DEFAULT_TEMPLATE, content_hash
from flows.generate import RunShards, ensure_outputs
from flows.home import Home, open_home, open_router
from flows.progress import stage
from flows.refresh import shard_runner
from lorauter.routers import ROUTERS
from lorauter.routing import Route
from lorauter.task_index import load_index
from warehouse.files import write_table
from warehouse.plans import Work
from warehouse.schemas import ANSWERS, table_of
from warehouse.snapshots import Snapshot, current_snapshot, open_snapshot
from warehouse.tasks import read_rows

MAJORITY = "majority"


@dataclass(frozen=True, slots=True)
class Query:
    """One query. `task`, `target` and `metric` are known for evaluation queries only."""

    id: str
    input: str
    max_new_tokens: int
    task: str | None = None
    target: str | None = None
    metric: str | None = None


@flow(name="answer-batch", persist_result=False, validate_parameters=False)
def answer_batch(
    queries: str,
    out: str,
    routers: Sequence[str] = ("lorauter",),
    snapshot: str | None = None,
    settings: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Answer a file of queries by each router and write one Parquet file.

    Args:
        queries: .jsonl, .csv or .parquet with a column `input`, and optionally id, task, target, metric,
            max_new_tokens. out: the Parquet file to write. routers: names of `lorauter.routers.ROUTERS`, or
            "majority": the most frequent validation target of the query's task, without a model.
        snapshot: folder of a snapshot; the current one where left out. settings: as for `refresh`.
    """
    home = open_home(**(settings or {}))
    opened = open_snapshot(Path(snapshot)) if snapshot else current_snapshot(home.snapshots)
    asked = read_queries(Path(queries))
    rows, new = answer(home, opened, asked, [name for name in routers if name != MAJORITY], shard_runner(home))
    if MAJORITY in routers:
        rows += majority_rows(opened, asked)
    write_table(Path(out), table_of(rows, ANSWERS))
    return {"answers": len(rows), "new": new, "snapshot": opened.id, "out": out}


def answer(
    home: Home, snapshot: Snapshot, queries: Sequence[Query], routers: Sequence[str], run: RunShards
) -> tuple[list[dict[str, Any]], int]:
    """Rows of the answers' table, router by router, and how many answers had to be made."""
    index = load_index(snapshot, home.settings.base)
    routes = _route(home, snapshot, queries, routers)
    pairs = [(name, query, route) for name in routers for query, route in zip(queries, routes[name], strict=True)]
    templates = {row["task"]: row["template"] for row in snapshot.read("tasks") if row["base"] == index.base}
    work = [_work(query, route, templates) for _, query, route in pairs]
    with stage("answer", len(work), "answers") as advance:
        answers, new = ensure_outputs(home, work, home.conditions(index.base, index.base_sha), run, advance)
    rows = [
        _row(snapshot.id, name, query, route, answer)
        for (name, query, route), answer in zip(pairs, answers, strict=True)
    ]
    return rows, new


def check_routers(routers: Sequence[str]) -> None:
    """Raise SettingError for a router that does not exist."""
    for name in routers:
        if name not in (*ROUTERS, MAJORITY):
            raise SettingError(f"There is no router {name!r}.", f"Choose one of: {', '.join((*ROUTERS, MAJORITY))}.")


def majority_rows(snapshot: Snapshot, queries: Sequence[Query]) -> list[dict[str, Any]]:
    """The answers of a control that needs no model: each task's most frequent validation target."""
    majority = {row["task"]: row["majority"] for row in snapshot.read("tasks")}
    return [_row(snapshot.id, MAJORITY, q, Route(()), majority.get(q.task, "")) for q in queries]


def read_queries(path: Path) -> list[Query]:
    """Queries of a file. Raises TaskError or SettingError naming the row and field."""
    queries = []
    for number, row in read_rows(path):
        text = row.get("input")
        if not isinstance(text, str) or not text.strip():
            raise SettingError(f"{path}, row {number}: field input must be text that is not empty.", "Mend the row.")
        bound = row.get("max_new_tokens") or 32
        if not str(bound).isdecimal() or not 1 <= int(bound) <= 4096:
            raise SettingError(f"{path}, row {number}: field max_new_tokens is {bound!r}.", "Use 1 to 4096.")
        queries.append(
            Query(
                id=str(row.get("id") or content_hash([number, text])),
                input=text,
                max_new_tokens=int(bound),
                task=row.get("task"),
                target=row.get("target"),
                metric=_metric(path, number, row.get("metric")),
            )
        )
    if not queries:
        raise SettingError(f"{path} holds no queries.", "Give at least one row with a field input.")
    return queries


def _metric(path: Path, number: int, name: str | None) -> str | None:
    known = [metric.name for metric in METRICS.values() if metric.needs == "text"]
    if name is not None and name not in known:
        raise SettingError(f"{path}, row {number}: field metric is {name!r}.", f"Use one of {', '.join(known)}.")
    return name


def _route(
    home: Home, snapshot: Snapshot, queries: Sequence[Query], routers: Sequence[str]
) -> Mapping[str, list[Route]]:
    truth = {query.input: query.task for query in queries if query.task}
    texts = [query.input for query in queries]
    routes = {}
    with stage("route", len(routers) * len(texts), "queries") as advance:
        for name in routers:
            routes[name] = open_router(home, snapshot, name, truth).route(texts)
            advance(len(texts))
    return routes


def _work(query: Query, route: Route, templates: Mapping[str, str]) -> Work:
    """The prompt takes the template that the adapters were scored with: the query's own task's, else the nearest's."""
    nearest = route.tasks[0].task if route.tasks else ""
    template = templates.get(query.task or nearest, DEFAULT_TEMPLATE)
    prompt = template.replace("{input}", query.input)
    return Work(prompt, route.mixture, query.max_new_tokens, query.task, query.id)


def _row(snapshot: str, router: str, query: Query, route: Route, answer: Answer) -> dict[str, Any]:
    text = answer if isinstance(answer, str) else None  # no query has options, so all else failed
    scored = query.metric and query.target is not None
    return {
        "id": query.id,
        "router": router,
        "input": query.input,
        "text": text,
        "tasks": [{"task": m.task, "similarity": m.similarity, "weight": m.weight} for m in route.tasks],
        "adapters": [{"adapter": key, "weight": weight} for key, weight in route.mixture],
        "confidence": route.confidence,
        "task": query.task,
        "target": query.target,
        "metric": query.metric,
        "score": METRICS[str(query.metric)].score(text or "", str(query.target)) if scored else None,
        "error": answer.error if isinstance(answer, Failed) else None,
        "snapshot": snapshot,
    }
