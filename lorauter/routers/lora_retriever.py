"""LoraRetriever (arXiv 2402.09997): the adapters whose tasks' mean inputs are nearest, all weighing alike.

Knows: inner products with means that are not normalised. Does not know: how its three compositions work (mixture,
selection and fusion stand under lorauter/compositions).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from lorauter.routing.routes import Masked, Route
from lorauter.routing.task_index import TaskIndex
from lorauter.routing.task_weights import mask, routes_of, weigh_alike

if TYPE_CHECKING:
    from lorauter.routing.encoder import Encoder


class LoraRetrieverRouter:
    """The top K tasks by inner product, each of weight 1/K.

    The paper embeds each adapter by 20 of its training inputs; here it is the task's mean validation input.

    Args:
        encoder: loads the sentence encoder when first needed.
        top_k: K, at least 1.
    """

    name = "loraretriever"

    def __init__(self, index: TaskIndex, encoder: Callable[[], Encoder], top_k: int = 3) -> None:
        self._index, self._encoder, self._top_k = index, encoder, top_k

    def route(self, queries: Sequence[str], masked: Masked = None) -> list[Route]:
        """One route a query, in order; confidence is the highest inner product."""
        if not queries:
            return []
        products = np.asarray(self._encoder().encode(queries) @ self._index.embeddings.T, dtype=np.float32)
        if masked is not None:
            products = mask(products, self._index.places(masked))
        return routes_of(weigh_alike(products, self._top_k), self._index.tasks, self._index.best)
