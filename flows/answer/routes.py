"""Routes of queries whose adapters can all be had.

Knows: routers by name over one snapshot, what the filters leave out, and what has turned out to be gone from the hub
since: its tasks take their next best. Does not know: how a router weighs, prompts, answers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from catalog.errors import HubError, HubRefusal
from catalog.tasks.task import DEFAULT_TEMPLATE
from flows.answer.published_base import PublishedBase
from flows.screen.progress import say
from lorauter.gates.protocol import taking_part, weighing_of
from lorauter.routing.fallback import without
from lorauter.routing.filters import refused, unmatched
from lorauter.routing.routes import Question, Routed, Router, routes_of
from lorauter.routing.task_index import TaskIndex, load_pool
from warehouse.queries.answer_rows import Fallback
from warehouse.queries.queries import Query
from warehouse.records.published_tasks import asked_tasks


def tell_unmatched(published: PublishedBase) -> None:
    """Tell on stderr which filters match no adapter of the snapshot."""
    for fault in unmatched(published.snapshot, published.index.base, published.routing):
        say(fault)


class Routes:
    """Routes by one base of a snapshot.

    Args:
        published: the base, and who gives its routers and adapters.
        routers: names of `lorauter.routers.ROUTERS`.
    """

    def __init__(self, published: PublishedBase, routers: Sequence[str]) -> None:
        self._published, self._names = published, tuple(routers)
        snapshot, index = published.snapshot, published.index
        self._place = {task: number for number, task in enumerate(index.tasks)}
        self._asked = asked_tasks(snapshot, index.base)
        self._pool = set(load_pool(snapshot, index))
        self._here: set[str] = set()  # adapters whose weights are on this machine
        self._gone: set[str] = set()
        self._refused = refused(snapshot, index.base, published.routing)
        tell_unmatched(published)
        self._open()

    def of(self, router: str, queries: Sequence[Query]) -> Sequence[Routed]:
        """One route a query. Raises HubError where the hub does not answer."""
        questions = [self._question(query) for query in queries]
        while True:
            routes = self._tried(router, questions)
            if routes is not None:
                return routes
            self._open()

    def fallbacks(self, route: Routed) -> tuple[Fallback, ...]:
        """The route's tasks whose adapter is gone or does not pass the filters, and what is used in its place."""
        index = self._published.index
        matched = [self._place[match.task] for match in route.tasks]
        return tuple(
            Fallback(index.tasks[n], index.best[n], self._left.best[n])
            for n in matched
            if index.best[n] != self._left.best[n]
        )

    def _open(self) -> None:
        """The routers, over what can still be had."""
        published = self._published
        self._left: TaskIndex = without(published.index, published.snapshot, {*self._gone, *self._refused})
        self._routers: Mapping[str, Router] = {name: published.open_router(name, self._gone) for name in self._names}

    def _question(self, query: Query) -> Question:
        """The query as a router may read it: with its true task, and in that task's template, where it is known."""
        task = self._asked.get(query.task or "")
        template = task.template if task else DEFAULT_TEMPLATE
        return Question(query.input, query.task or "", template.replace("{input}", query.input))

    def _tried(self, router: str, questions: Sequence[Question]) -> Sequence[Routed] | None:
        """Routes, or None where an adapter that they need, or that the router has to look at, has vanished."""
        try:
            routes = routes_of(self._routers[router], questions)
        except HubError:
            if self._vanished(self._pool - self._gone):
                return None
            raise
        used = {key for route in routes for key in taking_part(weighing_of(route))}
        return None if self._vanished(used) else routes

    def _vanished(self, keys: set[str]) -> bool:
        """Whether an adapter that is not here can no longer be had either."""
        for key in sorted(keys - self._here):
            try:
                self._published.fetch_adapter(key)
                self._here.add(key)
            except HubRefusal:
                say(f"{key} has vanished from the hub; its tasks take their next best adapter.")
                self._gone.add(key)
        return bool(keys & self._gone)
