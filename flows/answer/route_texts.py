"""Routes of texts, told: the mixture alone, or all that is behind it, for people or as JSON lines.

Knows: texts, one router, how results are written. Does not know: how a router weighs, what explains a route
(lorauter/routing/explain).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from catalog.chunks import chunks
from catalog.errors import SettingError
from flows.home.home import Home
from flows.home.parts import open_router
from flows.screen.explained_route import show_explanation
from flows.screen.progress import say
from flows.screen.screen import printable
from lorauter.gates.protocol import GatedRoute
from lorauter.routing.explain import Explainer
from lorauter.routing.filters import unmatched
from lorauter.routing.routes import Question, Routed, Router, routes_of
from warehouse.records.repos import gone_repos
from warehouse.snapshots.snapshot import Snapshot

ORACLE = "oracle"


@dataclass(frozen=True, slots=True)
class RouteOptions:
    """What is asked.

    Args:
        router: a name of `lorauter.routers.ROUTERS`. snapshot: as `Home.snapshot`.
        task: the texts' true task, which the oracle needs. explain: all that is behind a route, in place of the
            mixture alone. form: table, or json, which always holds all. many: each line of a mixture names its text.

    Raises:
        SettingError: a true task without the oracle, or the oracle without.
    """

    router: str = "lorauter"
    snapshot: str | Path | None = None
    task: str | None = None
    explain: bool = False
    form: str = "table"
    many: bool = False

    def __post_init__(self) -> None:
        if (self.router == ORACLE) != (self.task is not None):
            raise SettingError(
                "The oracle, and no other router, needs the true task.", "Give both --router oracle and --task NAME."
            )


def tell_routes(home: Home, texts: Iterable[str], options: RouteOptions, out: IO[str]) -> None:
    """Write the route of each text.

    Raises:
        SettingError: there is no such router or task, or the router cannot be had of this snapshot.
    """
    snapshot = home.snapshot(options.snapshot)
    _check_task(snapshot, home.settings.base, options.task)
    for fault in unmatched(snapshot, home.settings.base, home.settings.routing):
        say(fault)
    router = open_router(home, snapshot, options.router)
    explainer = explainer_of(home, snapshot, options.router) if options.explain or options.form == "json" else None
    for chunk in chunks(texts, home.settings.answer_rows):
        questions = [Question(text, options.task or "") for text in chunk]
        routes = routes_of(router, questions)
        nexts = _nexts(router, questions, routes) if explainer else [None] * len(chunk)
        for text, route, following in zip(chunk, routes, nexts, strict=True):
            if explainer is None:
                ending = "\t" + " ".join(text.split()) if options.many else ""
                out.writelines(f"{printable(line + ending)}\n" for line in _mixture(route))
                continue
            found = explainer.explain(text, route, following)
            if options.form == "json":
                out.write(json.dumps(found, allow_nan=False) + "\n")
            else:
                show_explanation(found, out)


def explainer_of(home: Home, snapshot: Snapshot, router: str) -> Explainer:
    """What explains the routes of a router of the settings; it asks the ledger which repos have gone."""
    settings = home.settings
    return Explainer(snapshot, settings.base, router, settings.routing, gone_repos(home.ledger), settings.endpoint)


def _check_task(snapshot: Snapshot, base: str, task: str | None) -> None:
    known = [row["task"] for row in snapshot.read("best") if row["base"] == base]
    if task is not None and task not in known:
        raise SettingError(f"The snapshot has no task {task!r}.", 'See `lorauter sql "SELECT task FROM catalog"`.')


def _mixture(route: Routed) -> Iterator[str]:
    if isinstance(route, GatedRoute):
        yield from (f"token\t{adapter}" for adapter in route.gate.adapters)
    elif route.mixture:
        yield from (f"{weight:.3f}\t{adapter}" for adapter, weight in route.mixture)
    else:
        yield "1.000\t(base)"


def _nexts(router: Router, questions: Sequence[Question], routes: Sequence[Routed]) -> list[tuple[str, float] | None]:
    """The task just below each route's with its similarity: the one that comes in where the nearest is masked."""
    masked = [route.tasks[0].task if route.tasks else None for route in routes]
    if not any(masked):
        return [None] * len(questions)
    found = []
    for route, other in zip(routes, routes_of(router, questions, masked), strict=True):
        known = {match.task for match in route.tasks}
        below = [m for m in other.tasks if m.task not in known and m.similarity > float("-inf")]
        found.append((below[0].task, below[0].similarity) if below else None)
    return found
