"""A package's router with its routes checked: a fault names the package, and reaches neither engine nor ledger.

Knows: what a route must be whoever made it. Does not know: packages' metadata (catalog/plugins), how a router weighs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from catalog.plugins import Origin
from lorauter.gates.protocol import taking_part, weighing_of
from lorauter.routing.routes import Masked, Question, ReadsQuestions, Routed, Router

if TYPE_CHECKING:
    from collections.abc import Callable

    from lorauter.routers import RouterParts


class GuardedMaker:
    """Makes a package's router, and keeps the attribute `compositions` of what the entry point names."""

    def __init__(self, make: Callable[[RouterParts], Router], origin: Origin) -> None:
        self._make, self._origin = make, origin
        if hasattr(make, "compositions"):
            self.compositions = make.compositions

    def __repr__(self) -> str:
        return repr(self._make)

    def __call__(self, parts: RouterParts) -> Router:
        """The router of some parts."""
        with self._origin.blamed():
            router = self._make(parts)
        made = _Reading if isinstance(router, ReadsQuestions) else _Guarded
        return made(router, parts, self._origin)


class _Guarded:
    """A router whose routes are checked."""

    def __init__(self, router: Router, parts: RouterParts, origin: Origin) -> None:
        self._router, self._origin = router, origin
        self._tasks = frozenset(parts.index.tasks)
        self._adapters = frozenset((*parts.index.best, *parts.index.declared, *parts.pool))
        with origin.blamed():
            self.name = router.name

    @property
    def passes(self) -> float:
        """Forward passes of the base that a route costs."""
        return float(getattr(self._router, "passes", 0.0))

    def route(self, queries: Sequence[str], masked: Masked = None) -> Sequence[Routed]:
        """As the package's, checked."""
        with self._origin.blamed():
            routes = self._router.route(queries, masked)
        return self._checked(routes, len(queries))

    def _checked(self, routes: Sequence[Routed], wanted: int) -> Sequence[Routed]:
        with self._origin.blamed("gives no routes"):
            faults = [fault for route in routes if (fault := self._fault(route))]
            count = len(routes)
        if count != wanted:
            raise self._origin.fault(f"gives {count} routes for {wanted} queries")
        if faults:
            raise self._origin.fault(faults[0])
        return routes

    def _fault(self, route: Routed) -> str | None:
        """What is wrong with a route, if anything."""
        weighing, tasks = weighing_of(route), route.tasks
        for key in taking_part(weighing):
            if key not in self._adapters:
                return f"weighs the adapter {key!r}, which is neither published nor in the pool"
        for key, weight in weighing if isinstance(weighing, tuple) else ():
            if not math.isfinite(weight):
                return f"weighs {key or 'the base'} by {weight}"
        for match in tasks:
            if match.task not in self._tasks:
                return f"names the task {match.task!r}, which the snapshot does not have"
        float(route.confidence)
        return None


class _Reading(_Guarded):
    """The same of a router that reads more than a query's text."""

    def route_questions(self, questions: Sequence[Question], masked: Masked = None) -> Sequence[Routed]:
        """As the package's, checked."""
        with self._origin.blamed():
            routes = self._router.route_questions(questions, masked)  # type: ignore[attr-defined]
        return self._checked(routes, len(questions))
