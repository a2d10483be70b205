"""Tasks where nobody named any: clusters of validation embeddings stand in for them.

Knows: k-means over embeddings (LORAUTER, arXiv 2601.21795, its setting without task labels). Does not know: how
texts are embedded (lorauter/routing/encoder), how a cluster's adapter is chosen: a cluster is scored as any task.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from catalog.errors import TaskError
from catalog.tasks.task import Example, Task

LEAST = 2  # validation examples of a task
RESTARTS = 10
Embeddings = npt.NDArray[np.float32]


def cluster_tasks(
    task: Task, embeddings: Embeddings, k: int, seed: int = 0, test_embeddings: Embeddings | None = None
) -> list[Task]:
    """The task parted into up to `k`: metric, template and bound are its own, names are `name-00`, `name-01`, ….

    Args:
        task: all examples, in `validation` and, held back, in `test`.
        embeddings: of the validation inputs, in their order: (examples, d).
        test_embeddings: of the test inputs, likewise. Test examples, where embedded, follow the nearest centre, and
            decide nothing.
        seed: of k-means; the same seed and embeddings give the same tasks.

    Raises:
        TaskError: there are fewer than two examples a cluster.
    """
    if not 1 <= k <= len(task.validation) // LEAST:
        raise TaskError(
            f"{len(task.validation)} validation examples do not make {k} clusters of at least {LEAST}.",
            "Ask for fewer with --clusters, or add examples.",
        )
    centres = _centres(embeddings, k, seed)
    of_validation = _nearest(embeddings, centres)
    of_test = _nearest(test_embeddings, centres) if test_embeddings is not None else np.zeros(0, dtype=np.int64)
    width = max(2, len(str(k - 1)))
    return [
        replace(
            task,
            name=f"{task.name}-{number:0{width}}",
            validation=_members(task.validation, of_validation, number),
            test=_members(task.test, of_test, number),
            train=(),
        )
        for number in range(len(centres))
    ]


def _centres(embeddings: Embeddings, k: int, seed: int) -> Embeddings:
    """Centres of clusters with at least LEAST members, in the order of their first members.

    A centre with fewer is given up, the smallest first; its members go to the next one.
    """
    from sklearn.cluster import KMeans

    centres = np.asarray(KMeans(k, n_init=RESTARTS, random_state=seed).fit(embeddings).cluster_centers_)
    while (sizes := np.bincount(_nearest(embeddings, centres), minlength=len(centres))).min() < LEAST:
        centres = np.delete(centres, sizes.argmin(), axis=0)
    nearest = _nearest(embeddings, centres)
    first = [int(np.flatnonzero(nearest == number)[0]) for number in range(len(centres))]
    return np.asarray(centres[np.argsort(first)], dtype=np.float32)


def _nearest(embeddings: Embeddings, centres: Embeddings) -> npt.NDArray[np.int64]:
    distances = (centres**2).sum(axis=1)[None] - 2 * embeddings @ centres.T  # less the part that is each row's own
    return np.asarray(distances.argmin(axis=1), dtype=np.int64)


def _members(examples: Sequence[Example], clusters: npt.NDArray[np.int64], number: int) -> tuple[Example, ...]:
    return tuple(example for example, cluster in zip(examples, clusters, strict=False) if cluster == number)
