"""A router that is made when it is first asked: its parts are dear, or its module loads torch.

Knows: when it is made. Does not know: routes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property

from lorauter.routing.routes import Masked, Question, Routed, Router, routes_of


class LazyRouter:
    """Another router, under its name.

    Args:
        name: the router's.
        make: makes it, on the first query.
        passes: forward passes of the base that a query's route takes.
    """

    def __init__(self, name: str, make: Callable[[], Router], passes: float = 0.0) -> None:
        self.name, self.passes = name, passes
        self._make = make

    def route(self, queries: Sequence[str], masked: Masked = None) -> Sequence[Routed]:
        """As the router's."""
        return self._router.route(queries, masked) if queries else []

    def route_questions(self, questions: Sequence[Question], masked: Masked = None) -> Sequence[Routed]:
        """As the router's."""
        return routes_of(self._router, questions, masked) if questions else []

    @cached_property
    def _router(self) -> Router:
        return self._make()
