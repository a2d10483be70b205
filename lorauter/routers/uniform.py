"""All published adapters at equal weight: a control. Knows the index, does not look at the query."""

from __future__ import annotations

from collections.abc import Sequence

from lorauter.routing.routes import Masked, Route, mixture_of
from lorauter.routing.task_index import TaskIndex


class UniformRouter:
    """The output mixture of all n published adapters, each with weight 1/n."""

    name = "uniform"

    def __init__(self, index: TaskIndex) -> None:
        self._mixture = mixture_of({key: 1 / len(index.adapters) for key in index.adapters})

    def route(self, queries: Sequence[str], masked: Masked = None) -> list[Route]:
        """The same mixture for every query."""
        return [Route(self._mixture) for _ in queries]
