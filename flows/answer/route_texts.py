"""Routes of texts, told: the mixture alone, or all that is behind it, for people or as JSON lines.

Knows: texts, one router, how results are written. Does not know: how a router weighs, what explains a route
(lorauter/routing/explain).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import IO

from catalog.chunks import chunks
from catalog.errors import SettingError
from flows.answer.published_base import PublishedBase
from flows.answer.routes import tell_unmatched
from flows.screen.explained_route import show_explanation
from flows.screen.screen import printable
from lorauter.gates.protocol import GatedRoute
from lorauter.routing.explain import Explainer
from lorauter.routing.routes import Question, Routed, Router, routes_of

ORACLE = "oracle"


@dataclass(frozen=True, slots=True)
class RouteOptions:
    """What is asked.

    Args:
        router: a name of `lorauter.routers.ROUTERS`.
        task: the texts' true task, which the oracle needs.
        explain: all that is behind a route, in place of the mixture alone.
        form: table, or json, which always holds all.
        many: each line of a mixture names its text.

    Raises:
        SettingError: a true task without the oracle, or the oracle without.
    """

    router: str = "lorauter"
    task: str | None = None
    explain: bool = False
    form: str = "table"
    many: bool = False

    def __post_init__(self) -> None:
        if (self.router == ORACLE) != (self.task is not None):
            raise SettingError(
                "The oracle, and no other router, needs the true task.", "Give both --router oracle and --task NAME."
            )

    @property
    def explained(self) -> bool:
        """Whether all that is behind a route is told."""
        return self.explain or self.form == "json"


def tell_routes(
    published: PublishedBase,
    texts: Iterable[str],
    options: RouteOptions,
    out: IO[str],
    rows: int,
    explainer: Explainer | None,
) -> None:
    """Write the route of each text.

    Args:
        published: what routes.
        texts: what is routed.
        options: by which router, and how much is told.
        out: where to.
        rows: texts routed at a time.
        explainer: tells what is behind a route; None tells the mixture alone.

    Raises:
        SettingError: there is no such router or task, or the router cannot be had of this snapshot.
    """
    if options.task is not None and options.task not in published.index.tasks:
        raise SettingError(
            f"The snapshot has no task {options.task!r}.", 'See `lorauter sql "SELECT task FROM catalog"`.'
        )
    tell_unmatched(published)
    router = published.open_router(options.router, ())
    for chunk in chunks(texts, rows):
        questions = [Question(text, options.task or "") for text in chunk]
        routes = routes_of(router, questions)
        if explainer is None:
            for text, route in zip(chunk, routes, strict=True):
                ending = "\t" + " ".join(text.split()) if options.many else ""
                out.writelines(f"{printable(line + ending)}\n" for line in _mixture(route))
            continue
        for text, route, following in zip(chunk, routes, _nexts(router, questions, routes), strict=True):
            explained = explainer.explain(text, route, following)
            if options.form == "json":
                out.write(json.dumps(explained, allow_nan=False) + "\n")
            else:
                show_explanation(explained, out)


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
    nexts = []
    for route, other in zip(routes, routes_of(router, questions, masked), strict=True):
        weighed = {match.task for match in route.tasks}
        below = [m for m in other.tasks if m.task not in weighed and m.similarity > float("-inf")]
        nexts.append((below[0].task, below[0].similarity) if below else None)
    return nexts
