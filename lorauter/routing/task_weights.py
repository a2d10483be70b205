"""Weights of tasks from similarities: the top K and their softmax, for many queries at a time.

Knows: top K, softmax, how weights of tasks become routes. Does not know: where similarities come from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from catalog.errors import SettingError
from lorauter.routing.routes import Route, TaskMatch, mixture_of

Similarities = npt.NDArray[np.float32]
_FEW = 8  # so many passes of argmax cost less than a sort


@dataclass(frozen=True, slots=True)
class TaskWeights:
    """Routes of n queries as arrays, nearest task first.

    Args:
        tasks: places in the index, int64 (n, k).
        similarities: float32 (n, k).
        weights: float64 (n, k), rows sum to 1, or to 0 where the base answers.
        confidence: float64 (n,), nan where no task may get weight.
    """

    tasks: npt.NDArray[np.int64]
    similarities: Similarities
    weights: npt.NDArray[np.float64]
    confidence: npt.NDArray[np.float64]


def check_constants(top_k: int, temperature: float) -> None:
    """Raises SettingError for constants that make no sense."""
    if top_k < 1 or temperature <= 0:
        raise SettingError(f"top_k {top_k} or temperature {temperature} is too small.", "Use 1 or more, and > 0.")


def weigh_tasks(similarities: Similarities, top_k: int, temperature: float | npt.NDArray[np.float64]) -> TaskWeights:
    """w = softmax(s / τ) over the K highest (LORAUTER, arXiv 2601.21795); of equal ones the first.

    Args:
        similarities: (n, tasks), -inf for a task that may get no weight.
        top_k: K, at least 1.
        temperature: τ, above 0; one, or one a query (n, 1).
    """
    top = _top(similarities, min(top_k, similarities.shape[1]))
    nearest = np.take_along_axis(similarities, top, axis=1)
    highest = nearest[:, :1].astype(np.float64)
    shares = np.exp((nearest - np.where(np.isfinite(highest), highest, 0.0)) / temperature)
    return TaskWeights(top, nearest, to_one(shares), finite_or_nan(highest[:, 0]))


def weigh_alike(similarities: Similarities, top_k: int) -> TaskWeights:
    """w = 1/K for the K highest of which a task may get weight (LoraRetriever, arXiv 2402.09997).

    Each weighs a millionth less than the one before it, so that the heaviest adapter is the nearest task's.

    Args: as `weigh_tasks`.
    """
    top = _top(similarities, min(top_k, similarities.shape[1]))
    nearest = np.take_along_axis(similarities, top, axis=1)
    shares = np.isfinite(nearest) * (1.0 - 1e-6 * np.arange(top.shape[1]))
    return TaskWeights(top, nearest, to_one(shares), finite_or_nan(nearest[:, 0].astype(np.float64)))


def to_one(shares: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Rows over their sums; a row of zeros stays: where every task is masked, the base answers."""
    sums = shares.sum(axis=1, keepdims=True)
    return np.asarray(shares / np.where(sums > 0, sums, 1.0))


def finite_or_nan(highest: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Highest similarities as confidences; nan where no task may get weight."""
    return np.where(np.isfinite(highest), highest, np.nan)


def routes_of(weights: TaskWeights, tasks: Sequence[str], best: Sequence[str]) -> list[Route]:
    """Routes in words: tasks by name, weights of tasks that publish one adapter added up, none for the base ("")."""
    columns = (weights.tasks, weights.similarities, weights.weights, weights.confidence)
    return [
        _route(places, similarities, shares, confidence, tasks, best)
        for places, similarities, shares, confidence in zip(*(column.tolist() for column in columns), strict=True)
    ]


def _route(
    places: Sequence[int],
    similarities: Sequence[float],
    shares: Sequence[float],
    confidence: float,
    tasks: Sequence[str],
    best: Sequence[str],
) -> Route:
    by_adapter: dict[str, float] = {}
    for place, share in zip(places, shares, strict=True):
        by_adapter[best[place]] = by_adapter.get(best[place], 0.0) + share
    matches = tuple(
        [TaskMatch(tasks[place], near, share) for place, near, share in zip(places, similarities, shares, strict=True)]
    )
    return Route(mixture_of(by_adapter), matches, confidence)


def mask(similarities: Similarities, masked: Sequence[int | None]) -> Similarities:
    """Similarities in which each query's masked task, by its place, may get no weight; None masks nothing."""
    masked_rows = [row for row, place in enumerate(masked) if place is not None]
    left = similarities.copy()
    left[masked_rows, [place for place in masked if place is not None]] = -np.inf
    return left


def _top(similarities: Similarities, k: int) -> npt.NDArray[np.int64]:
    if k > _FEW:
        return np.argsort(-similarities, axis=1, kind="stable")[:, :k]
    # A masked task stays above one that is taken: else that would be found again where all others are masked.
    left, rows = np.maximum(similarities, np.finfo(np.float32).min), np.arange(len(similarities))
    top = np.empty((len(left), k), dtype=np.int64)
    for place in range(k):
        top[:, place] = left.argmax(axis=1)
        left[rows, top[:, place]] = -np.inf
    return top
