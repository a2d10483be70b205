"""LORAUTER (arXiv 2601.21795): route a query by task embeddings, compose the adapters that did best on those tasks.

Knows: cosine, top K, softmax, tasks that share an adapter. Does not know: where embeddings or scores come from.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from catalog.errors import SettingError
from lorauter.routing import Route, TaskMatch, mixture_of
from lorauter.task_index import TaskIndex

if TYPE_CHECKING:
    from lorauter.encoder import Encoder


class TaskEmbeddingRouter:
    """s_j = cos(E(x), t_j); the top K tasks; w = softmax(s / τ) over those; weights of one adapter add up.

    Args:
        index: tasks, embeddings and published adapters. encoder: loads the sentence encoder when first needed.
        top_k: K, at least 1. temperature: τ, above 0.
    """

    name = "lorauter"

    def __init__(
        self, index: TaskIndex, encoder: Callable[[], Encoder], top_k: int = 3, temperature: float = 0.2
    ) -> None:
        if top_k < 1 or temperature <= 0:
            raise SettingError(f"top_k {top_k} or temperature {temperature} is too small.", "Use 1 or more, and > 0.")
        self.index = index
        self._encoder = encoder
        self._top_k = min(top_k, len(index.tasks))
        self._temperature = temperature

    def route(self, queries: Sequence[str]) -> list[Route]:
        """One route a query, in order."""
        if not queries:
            return []
        similarities = self.index.similarities(self._encoder().encode(queries))
        return [self._weigh(row) for row in similarities]

    def _weigh(self, similarities: npt.NDArray[np.float32]) -> Route:
        top = np.argsort(-similarities, kind="stable")[: self._top_k]
        scaled = similarities[top].astype(np.float64) / self._temperature
        shares = np.exp(scaled - scaled.max())
        shares /= shares.sum()
        by_adapter: defaultdict[str, float] = defaultdict(float)
        matches = []
        for task, share in zip(top, shares, strict=True):
            by_adapter[self.index.best[task]] += float(share)
            matches.append(TaskMatch(self.index.tasks[task], float(similarities[task]), float(share)))
        return Route(mixture_of(by_adapter), tuple(matches), float(similarities[top[0]]))
