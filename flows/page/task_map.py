"""Tasks on a plane: the two directions in which their embeddings differ most."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

_STEPS = 1000


def places(embeddings: Sequence[Sequence[float] | None]) -> tuple[list[list[int] | None], list[int]]:
    """PCA of task embeddings (tasks, d).

    Returns:
        x and y of each task, in thousandths of the largest distance from the middle, None where a task has no
        embedding of the common width; and the share of the variance that each direction shows, in per cent.
    """
    width = max((len(one) for one in embeddings if one is not None), default=0)
    embedded = [number for number, one in enumerate(embeddings) if one is not None and len(one) == width > 0]
    if len(embedded) < 2:
        return [[0, 0] if number in embedded else None for number in range(len(embeddings))], []
    points, shares = _plane(np.asarray([embeddings[number] for number in embedded], dtype=np.float64))
    placed: list[list[int] | None] = [None] * len(embeddings)
    for number, point in zip(embedded, points, strict=True):
        placed[number] = [round(_STEPS * value) for value in point]
    return placed, [round(100 * share) for share in shares]


def _plane(vectors: np.ndarray) -> tuple[list[list[float]], list[float]]:
    from sklearn.decomposition import PCA

    count = min(2, *vectors.shape)
    model = PCA(count, svd_solver="full")
    points = model.fit_transform(vectors)
    points = np.pad(points, ((0, 0), (0, 2 - count)))
    largest = float(np.abs(points).max()) or 1.0
    return (points / largest).tolist(), np.nan_to_num(model.explained_variance_ratio_).tolist()
