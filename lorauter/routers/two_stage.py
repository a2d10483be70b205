"""A reading of LORAUTER in two stages: a contrastively trained reranker picks tasks among the index's nearest, then
each task's catalog gives the adapter that did well on the examples most like the query.

Knows: candidates, reranking, who is chosen inside a catalog. Does not know: training (lorauter/train/two_stage),
weights of tasks (lorauter/routing/task_weights). After a summary of the paper (arXiv 2601.21795); the authors' code has
neither.

    candidates    the CANDIDATES nearest tasks by cosine to their mean embeddings
    rerank        cosine of P k(x) to the task's centre, k(x) the inner products of form and meaning with the inputs
    weights       top K and softmax over those cosines, as `lorauter`
    in a catalog  LOCAL · mean score weighed by softmax of cosines / SPREAD + (1 - LOCAL) · mean score

An adapter that did better over all than the published one is not in its catalog: somebody, or held-back examples,
decided against it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from lorauter.routing.linear_discriminant import TextKernel, count_texts
from lorauter.routing.routes import Masked, Route, RouterOptions, TaskMatch, mixture_of
from lorauter.routing.task_index import TaskIndex, TaskInputs
from lorauter.routing.task_weights import Similarities, TaskWeights, check_constants, mask, weigh_tasks
from lorauter.trained.state import TrainedState, shaped, unfit

if TYPE_CHECKING:
    from lorauter.routers import RouterParts

CANDIDATES = 32
LOCAL, SPREAD = 0.5, 0.1
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Catalog:
    """The adapters of a task with what they scored, each on the same examples.

    Args:
        adapters: keys, the published one first.
        places: rows of the examples among all inputs.
        scores: (adapters, examples).
    """

    adapters: tuple[str, ...]
    places: npt.NDArray[np.int64]
    scores: Floats

    def choose(self, near: Floats, usable: frozenset[str]) -> str:
        """The adapter for a query, of equal ones the first; "" where none may be used.

        Args:
            near: cosine of the query to every input.
            usable: those that may be chosen.
        """
        rows = [row for row, adapter in enumerate(self.adapters) if adapter in usable]
        if not rows:
            return ""
        weights = np.exp((near[self.places] - near[self.places].max()) / SPREAD)
        local = self.scores[rows] @ (weights / weights.sum())
        return self.adapters[rows[int(np.argmax(LOCAL * local + (1 - LOCAL) * self.scores[rows].mean(axis=1)))]]


class TwoStageRouter:
    """Routes over the top K reranked tasks; similarity and confidence are the reranker's cosines.

    Args:
        parts: all that a router may be built from.
    """

    name = "two_stage"

    def __init__(self, parts: RouterParts) -> None:
        check_constants(parts.options.top_k, parts.options.temperature)
        self._index, self._encoder, self._inputs = parts.index, parts.encoder, parts.inputs
        self._options: RouterOptions = parts.options
        self._usable, self._state, self._fitted = frozenset(parts.pool), parts.state, parts.fitted

    def route(self, queries: Sequence[str], masked: Masked = None) -> list[Route]:
        """One route a query, in order. A masked task is no candidate."""
        if not queries:
            return []
        meaning = self._encoder().encode(queries)
        projected = self._head.project(queries, meaning)
        similarities = self._similarities(projected, meaning, masked)
        weights = weigh_tasks(similarities, self._options.top_k, self._options.temperature)
        near = projected @ self._head.inputs.T
        return [self._route(weights, near[row], row) for row in range(len(queries))]

    def similarities(self, queries: Sequence[str]) -> Similarities:
        """The reranker's cosines: (queries, tasks), -inf for tasks that are no candidates."""
        meaning = self._encoder().encode(queries)
        return self._similarities(self._head.project(queries, meaning), meaning, None)

    def _similarities(self, projected: Floats, meaning: Floats, masked: Masked) -> Similarities:
        near = np.asarray(meaning @ self._means.T, dtype=np.float32)
        if masked is not None:
            near = mask(near, self._index.places(masked))
        reranked = np.full(near.shape, -np.inf, dtype=np.float32)
        top = np.argsort(-near, axis=1, kind="stable")[:, :CANDIDATES]
        np.put_along_axis(reranked, top, np.take_along_axis(projected @ self._head.centres.T, top, axis=1), axis=1)
        return np.where(np.isfinite(near), reranked, -np.inf).astype(np.float32)

    def _route(self, weights: TaskWeights, near: Floats, row: int) -> Route:
        by_adapter: dict[str, float] = {}
        matches = []
        columns = (weights.tasks[row], weights.similarities[row], weights.weights[row])
        for place, similarity, share in zip(*(column.tolist() for column in columns), strict=True):
            adapter = self._adapter(place, near)
            by_adapter[adapter] = by_adapter.get(adapter, 0.0) + share
            matches.append(TaskMatch(self._index.tasks[place], similarity, share))
        return Route(mixture_of(by_adapter), tuple(matches), float(weights.confidence[row]))

    def _adapter(self, place: int, near: Floats) -> str:
        """Of the task's catalog; the index's own where the catalog does not have that, or leaves nobody."""
        best, one = self._index.best[place], self._catalogs.get(self._index.tasks[place])
        if not best or one is None or best not in one.adapters:
            return best
        return one.choose(near, self._usable | {best}) or best

    @cached_property
    def _means(self) -> Floats:
        """The index's embeddings at length 1."""
        return unit(self._index.embeddings)

    @cached_property
    def _head(self) -> Head:
        inputs = self._inputs()
        kernel = self._fitted("text kernel", lambda: TextKernel(count_texts(inputs.texts, inputs.embeddings)))
        return Head.of(self._state(self.name), kernel, self._index, inputs)

    @cached_property
    def _catalogs(self) -> Mapping[str, Catalog]:
        return catalogs_of(self._state(self.name), self._index, self._inputs())


@dataclass(frozen=True, slots=True)
class Head:
    """The trained projection, with the catalog's inputs and tasks in its coordinates.

    Args:
        kernel: of the inputs.
        projection: (landmarks, d).
        inputs: unit rows, (inputs, d).
        centres: of the tasks, unit rows in the order of the index, (tasks, d).
    """

    kernel: TextKernel
    projection: Floats
    inputs: Floats
    centres: Floats

    @classmethod
    def of(cls, state: TrainedState, kernel: TextKernel, index: TaskIndex, inputs: TaskInputs) -> Head:
        """The head that a state holds."""
        projection = shaped(state, "projection", len(kernel.kept), None).astype(np.float32)
        points = unit(kernel.own @ projection)
        return cls(kernel, projection, points, centres_of(points, inputs.owners, len(index.tasks)))

    def project(self, texts: Sequence[str], meaning: Floats) -> Floats:
        """Unit rows of texts."""
        return unit(self.kernel.of(count_texts(texts, meaning)) @ self.projection)


def centres_of(points: Floats, owners: npt.NDArray[np.int64], tasks: int) -> Floats:
    """Unit means by task."""
    sums = np.zeros((tasks, points.shape[1]))
    np.add.at(sums, owners, points)
    return unit(sums)


def unit(vectors: npt.NDArray[Any]) -> Floats:
    """Rows at length 1; rows of zeros stay."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.maximum(lengths, 1e-12), dtype=np.float32)


def catalogs_of(state: TrainedState, index: TaskIndex, inputs: TaskInputs) -> dict[str, Catalog]:
    """The catalogs that a state holds, by task. Raises SnapshotError where they do not fit together."""
    catalogs, told = {}, state.facts.get("catalogs")
    if not isinstance(told, dict) or not told.keys() <= {*index.tasks}:
        raise unfit(state, "its fact catalogs names no tasks, or others")
    counts = np.bincount(inputs.owners, minlength=len(index.tasks))
    first = np.searchsorted(inputs.owners, np.arange(len(index.tasks)))
    for number, (task, adapters) in enumerate(sorted(told.items())):
        if not isinstance(adapters, list) or not all(isinstance(key, str) for key in adapters):
            raise unfit(state, f"the catalog of {task!r} is no list of adapters")
        places = shaped(state, f"examples.{number}", None).astype(np.int64)
        scores = shaped(state, f"scores.{number}", len(adapters), len(places)).astype(np.float32)
        owner = index.tasks.index(task)
        if not len(places) or places.min() < 0 or places.max() >= counts[owner]:
            raise unfit(state, f"examples.{number} are none of {task!r}")
        catalogs[task] = Catalog(tuple(adapters), places + int(first[owner]), scores)
    return catalogs
