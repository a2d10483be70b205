"""LORAUTER (arXiv 2601.21795): route a query by task embeddings, compose the adapters that did best on those tasks.

Knows: that tasks are near by cosine of embeddings. Does not know: where embeddings or scores come from, how
similarities become weights (lorauter/routing/task_weights).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from lorauter.routing.nearest_tasks import NearestTasks
from lorauter.routing.routes import Masked, Route
from lorauter.routing.task_index import TaskIndex
from lorauter.routing.task_weights import TaskWeights, check_constants, mask, routes_of, weigh_tasks

if TYPE_CHECKING:
    from lorauter.routing.encoder import Encoder


class TaskEmbeddingRouter:
    """s_j = cos(E(x), t_j); the top K tasks; w = softmax(s / τ) over those; weights of one adapter add up.

    Args:
        index: tasks, embeddings and published adapters.
        encoder: loads the sentence encoder when first needed.
        top_k: K, at least 1.
        temperature: τ, above 0.
    """

    name = "lorauter"

    def __init__(
        self, index: TaskIndex, encoder: Callable[[], Encoder], top_k: int = 3, temperature: float = 0.2
    ) -> None:
        check_constants(top_k, temperature)
        self.index = index
        self._encoder = encoder
        self._top_k = top_k
        self._temperature = temperature

    def route(self, queries: Sequence[str], masked: Masked = None) -> list[Route]:
        """One route a query, in order. masked: a task a query that gets no weight, the paper's OOD setting."""
        if not queries:
            return []
        return routes_of(self.weigh(queries, masked), self.index.tasks, self.index.best)

    def weigh(self, queries: Sequence[str], masked: Masked = None) -> TaskWeights:
        """The same as arrays."""
        vectors = self._encoder().encode(queries)
        hidden = None if masked is None else self.index.places(masked)
        if self._nearest is not None:
            return self._nearest.weigh(vectors, hidden, self._top_k, self._temperature)
        similarities = self.index.similarities(vectors)
        if hidden is not None:
            similarities = mask(similarities, hidden)
        return weigh_tasks(similarities, self._top_k, self._temperature)

    @cached_property
    def _nearest(self) -> NearestTasks | None:
        return NearestTasks.where_it_pays(self.index.embeddings)
