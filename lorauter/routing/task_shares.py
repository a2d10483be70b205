"""Shares of tasks that add up to 1, where similarities are not what is weighed: masses, probabilities.

Knows: the nucleus, how shares become routes. Does not know: where shares come from; top K and softmax (task_weights).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from lorauter.routing.routes import Route, TaskMatch, mixture_of
from lorauter.routing.task_index import TaskIndex
from lorauter.routing.task_weights import finite_or_nan, to_one

Shares = npt.NDArray[np.float64]
"""(queries, tasks) or (queries, examples), at least 0."""
_ROUNDING = 1e-9  # 0.6 + 0.3 falls short of 0.9


def nucleus_of(mass: Shares, nucleus: float) -> Shares:
    """The fewest entries of each row whose mass reaches the share `nucleus`, the others 0; rows sum to 1.

    A row of zeros stays.
    """
    order = np.argsort(-mass, axis=1, kind="stable")
    sorted_mass = np.take_along_axis(to_one(mass), order, axis=1)
    before = np.cumsum(sorted_mass, axis=1) - sorted_mass
    kept = np.zeros_like(mass)
    np.put_along_axis(kept, order, np.where(before < nucleus - _ROUNDING, sorted_mass, 0.0), axis=1)
    return to_one(kept)


def routes_of_shares(shares: Shares, similarities: npt.NDArray[np.floating], index: TaskIndex) -> list[Route]:
    """Routes over the tasks of shares above 0, the heaviest first; confidence is the highest similarity.

    Args:
        similarities: (queries, tasks), what a `TaskMatch` tells.
    """
    highest = finite_or_nan(similarities.max(axis=1).astype(np.float64)).tolist()
    rows = zip(shares, similarities, highest, strict=True)
    return [_route(share, near, confidence, index) for share, near, confidence in rows]


def _route(
    share: npt.NDArray[np.float64], near: npt.NDArray[np.floating], confidence: float, index: TaskIndex
) -> Route:
    places = sorted(np.flatnonzero(share > 0).tolist(), key=lambda place: (-share[place], place))
    weights: dict[str, float] = {}
    for place in places:
        weights[index.best[place]] = weights.get(index.best[place], 0.0) + float(share[place])
    matches = tuple(TaskMatch(index.tasks[place], float(near[place]), float(share[place])) for place in places)
    return Route(mixture_of(weights), matches, confidence)
