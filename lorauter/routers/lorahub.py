"""LoraHub (arXiv 2307.13269) as a router: a query goes to the mixture that was learned for its nearest task.

Knows: learned mixtures by task. Does not know: how they were learned (lorauter/mixture_search), how near is measured.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from catalog.errors import SettingError
from lorauter.routing import Masked, Mixture, Route, Routed, Router


class LoraHubRouter:
    """The nearest task's learned mixture.

    Args:
        nearest: names a query's tasks, nearest first, such as LORAUTER's with top_k 1. mixtures: by task.
    """

    name = "lorahub"

    def __init__(self, nearest: Router, mixtures: Mapping[str, Mixture]) -> None:
        self._nearest, self._mixtures = nearest, mixtures

    def route(self, queries: Sequence[str], masked: Masked = None) -> list[Route]:
        """One route a query, in order, with the tasks and the confidence that `nearest` gave.

        Raises:
            SettingError: no mixture was learned for a query's task.
        """
        return [self._learned(found) for found in self._nearest.route(queries, masked)]

    def _learned(self, found: Routed) -> Route:
        task = found.tasks[0].task
        if task not in self._mixtures:
            raise SettingError(f"No mixture was learned for the task {task!r}.", "Learn one by search_mixture.")
        return Route(self._mixtures[task], found.tasks, found.confidence)
