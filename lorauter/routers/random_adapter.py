"""One published adapter at random: a control. Knows the index; of a query only its hash."""

from __future__ import annotations

from collections.abc import Sequence

from catalog.tasks.task import content_hash
from lorauter.routing.routes import Masked, Route, mixture_of
from lorauter.routing.task_index import TaskIndex


class RandomRouter:
    """One adapter a query, drawn by the query's content hash: the same query always draws the same one."""

    name = "random"

    def __init__(self, index: TaskIndex) -> None:
        self._adapters = index.adapters

    def route(self, queries: Sequence[str], masked: Masked = None) -> list[Route]:
        """A single adapter of weight 1 a query; the base where nothing is published."""
        return [Route(mixture_of({self._draw(query): 1.0})) for query in queries]

    def _draw(self, query: str) -> str:
        if not self._adapters:
            return ""
        return self._adapters[int(content_hash(["random", query]), 16) % len(self._adapters)]
