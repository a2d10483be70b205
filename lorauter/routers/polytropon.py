"""Poly and MHR (arXiv 2211.03831) as a router: a query goes to the adapter that skills make for its nearest task.

Knows: which key a query gets. Does not know: how near is measured, how skills become an adapter
(lorauter/compositions/task_adapters).

The papers have no router of inputs: a task is known there. Here the nearest task by its embedding stands in. The skills
were trained on all tasks of the catalog. So a masked task's own logits are not used, but its examples have shaped what
its neighbours share; and where adapters have gone from the pool, nothing changes, since none of them is used.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from lorauter.routing.routes import Masked, Route, Router
from lorauter.trained.state import TrainedState, listed
from lorauter.trained.task_adapters import task_key


class SkillRouter:
    """The nearest task's own mixture of skills, as one plain adapter.

    Args:
        name: "mhr" or "poly".
        nearest: names a query's tasks, nearest first, such as LORAUTER's with top_k 1.
        state: gives what `lorauter fit NAME` made, when first needed.
    """

    def __init__(self, name: str, nearest: Router, state: Callable[[], TrainedState]) -> None:
        self.name, self._nearest, self._state = name, nearest, state

    def route(self, queries: Sequence[str], masked: Masked = None) -> list[Route]:
        """One route a query, in order, with the task and the confidence that `nearest` gave; without a task the base.

        Raises:
            SettingError: the router is not trained for this catalog.
            SnapshotError: its state has no such tasks.
        """
        if not queries:
            return []
        routes, state = self._nearest.route(queries, masked), self._state()
        listed(state, "outputs", {route.tasks[0].task for route in routes if route.tasks})
        return [
            Route(
                ((task_key(self.name, route.tasks[0].task, state.sha), 1.0),) if route.tasks else (),
                route.tasks,
                route.confidence,
            )
            for route in routes
        ]
