"""Routes of queries whose adapters can all be had.

Knows: routers by name over one snapshot, what the settings' filters leave out, and what has turned out to be gone from
the hub since: its tasks take their next best. Does not know: how a router weighs, prompts, answers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from catalog.errors import HubError, HubRefusal
from catalog.tasks.task import DEFAULT_TEMPLATE
from flows.home.home import Home
from flows.home.parts import open_router
from flows.screen.progress import say
from lorauter.gates.protocol import taking_part, weighing_of
from lorauter.routing.fallback import without
from lorauter.routing.filters import refused, unmatched
from lorauter.routing.routes import Question, Routed, Router, routes_of
from lorauter.routing.task_index import TaskIndex, load_index, load_pool
from warehouse.queries.queries import Query
from warehouse.snapshots.snapshot import Snapshot


class Routes:
    """Routes by one snapshot, of the settings' base.

    Attributes:
        index: the snapshot's tasks and their published adapters, those included that are gone.
    """

    def __init__(self, home: Home, snapshot: Snapshot, routers: Sequence[str]) -> None:
        self._home, self._snapshot, self._names = home, snapshot, tuple(routers)
        self.index: TaskIndex = load_index(snapshot, home.settings.base)
        self._place = {task: number for number, task in enumerate(self.index.tasks)}
        rows = [row for row in snapshot.read("tasks") if row["base"] == self.index.base]
        self._templates: dict[str, str] = {row["task"]: row["template"] for row in rows}
        self._pool = set(load_pool(snapshot, self.index))
        self._here: set[str] = set()  # adapters whose weights are on this machine
        self._gone: set[str] = set()
        self._refused = refused(snapshot, home.settings.base, home.settings.routing)
        for fault in unmatched(snapshot, home.settings.base, home.settings.routing):
            say(fault)
        self._open()

    def of(self, router: str, queries: Sequence[Query]) -> Sequence[Routed]:
        """One route a query. Raises HubError where the hub does not answer."""
        questions = [self._question(query) for query in queries]
        while True:
            routes = self._tried(router, questions)
            if routes is not None:
                return routes
            self._open()

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

    def _question(self, query: Query) -> Question:
        """The query as a router may read it: with its true task, and in that task's template, where it is known."""
        task = query.task or ""
        template = self._templates.get(task, DEFAULT_TEMPLATE)
        return Question(query.input, task, template.replace("{input}", query.input))

    def fallbacks(self, route: Routed) -> list[dict[str, str]]:
        """The route's tasks whose adapter is gone or does not pass the filters, and what is used in its place."""
        matched = [self._place[match.task] for match in route.tasks]
        return [
            {"task": self.index.tasks[n], "gone": self.index.best[n], "used": self._left.best[n]}
            for n in matched
            if self.index.best[n] != self._left.best[n]
        ]

    def _vanished(self, keys: set[str]) -> bool:
        """Whether an adapter that is not here can no longer be had either."""
        for key in sorted(keys - self._here):
            try:
                self._home.fetch_adapter(key)
                self._here.add(key)
            except HubRefusal:
                say(f"{key} has vanished from the hub; its tasks take their next best adapter.")
                self._gone.add(key)
        return bool(keys & self._gone)

    def _open(self) -> None:
        """The routers, over what can still be had."""
        self._left: TaskIndex = without(self.index, self._snapshot, {*self._gone, *self._refused})
        self._routers: Mapping[str, Router] = {
            name: open_router(self._home, self._snapshot, name, self._gone) for name in self._names
        }
