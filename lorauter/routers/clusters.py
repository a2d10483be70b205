"""LORAUTER without task labels (arXiv 2601.21795): clusters of validation inputs stand in for tasks.

Knows: k-means, which adapter a cluster takes. Does not know: where embeddings and scores come from.

    a*(c) = argmax_a Σ_{inputs x of c} P[task(x), a] / max_b P[task(x), b]

The paper sums the scores of single examples. A snapshot keeps an adapter's mean on a task: each input counts as its
task's mean, so the labels, which no route uses, still help to score. Candidates are the published adapters: others
met a few examples only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from lorauter.routing.routes import Masked, Route, mixture_of
from lorauter.routing.task_index import TaskIndex, TaskInputs
from lorauter.routing.task_weights import weigh_tasks

if TYPE_CHECKING:
    from lorauter.routing.encoder import Encoder

SEED = 0
RESTARTS = 10
Means = Mapping[tuple[str, str], float]
"""(task, adapter) → the adapter's mean on the task; where it is missing it is taken for 0."""


@dataclass(frozen=True, slots=True)
class Clusters:
    """centres: unit vectors, float32 (k, d). members: how many inputs of each task a cluster has, int64 (k, tasks)."""

    centres: npt.NDArray[np.float32]
    members: npt.NDArray[np.int64]


def fit_clusters(inputs: TaskInputs, k: int) -> Clusters:
    """Up to k clusters of the inputs; 0: twice as many as tasks, where the paper's figures have levelled off."""
    from sklearn.cluster import KMeans

    tasks = int(inputs.owners.max()) + 1
    k = min(k or 2 * tasks, len(inputs.texts))
    fitted = KMeans(k, n_init=RESTARTS, random_state=SEED).fit(inputs.embeddings)
    members = np.zeros((k, tasks), dtype=np.int64)
    np.add.at(members, (fitted.labels_, inputs.owners), 1)
    centres = fitted.cluster_centers_ / np.linalg.norm(fitted.cluster_centers_, axis=1, keepdims=True)
    return Clusters(centres.astype(np.float32), members)


class ClustersRouter:
    """The nearest K clusters by cosine, softmax over τ, weights of one adapter added up, as LORAUTER does with tasks.

    Its routes name no tasks. A masked task's inputs do not count when clusters choose; one without others is left out.

    Args:
        encoder: loads the sentence encoder when first needed.
        clusters: gives what `fit_clusters` made.
        means: reads the scores.
        top_k: K and τ.
        temperature: K and τ.
    """

    name = "clusters"

    def __init__(
        self,
        index: TaskIndex,
        encoder: Callable[[], Encoder],
        clusters: Callable[[], Clusters],
        means: Callable[[], Means],
        top_k: int = 3,
        temperature: float = 0.2,
    ) -> None:
        self._index, self._encoder, self._clusters, self._means = index, encoder, clusters, means
        self._top_k, self._temperature = top_k, temperature
        self._best = cache(self._choose)

    def route(self, queries: Sequence[str], masked: Masked = None) -> list[Route]:
        """One route a query, in order; confidence is the cosine to the nearest cluster."""
        if not queries:
            return []
        near = self._encoder().encode(queries) @ self._clusters().centres.T
        hidden = self._index.places(masked) if masked is not None else [None] * len(queries)
        best = [self._best(place) for place in hidden]
        for row, chosen in enumerate(best):
            near[row, [cluster for cluster, adapter in enumerate(chosen) if adapter is None]] = -np.inf
        weights = weigh_tasks(near, self._top_k, self._temperature)
        return [
            _route([chosen[place] for place in places], shares, confidence)
            for chosen, places, shares, confidence in zip(
                best, weights.tasks.tolist(), weights.weights.tolist(), weights.confidence.tolist(), strict=True
            )
        ]

    def _choose(self, masked: int | None) -> tuple[str | None, ...]:
        """The adapter of each cluster, "" for the base; None where no input counts."""
        members = self._clusters().members.copy()
        if masked is not None:
            members[:, masked] = 0
        sums = members @ self._relative
        candidates = (*self._index.adapters, "")  # of equal sums the first: an adapter before the base
        return tuple(
            candidates[int(row.argmax())] if count else None
            for row, count in zip(sums, members.sum(axis=1), strict=True)
        )

    @property
    def _relative(self) -> npt.NDArray[np.float64]:
        """P[task, candidate] ÷ the task's highest: (tasks, candidates), the base last."""
        means = self._means()
        candidates = (*self._index.adapters, "")
        scores = np.asarray([[means.get((task, key), 0.0) for key in candidates] for task in self._index.tasks])
        return np.asarray(scores / np.maximum(scores.max(axis=1, keepdims=True), 1e-9))


def _route(adapters: Sequence[str | None], shares: Sequence[float], confidence: float) -> Route:
    weights: dict[str, float] = {}
    for adapter, share in zip(adapters, shares, strict=True):
        weights[adapter or ""] = weights.get(adapter or "", 0.0) + share
    return Route(mixture_of(weights), (), confidence)
