"""Vector-database retrieval with a nucleus (arXiv 2602.21222): the nearest validation inputs vote for their tasks.

Knows: how retrieved examples become shares of tasks. Does not know: where embeddings come from, what is composed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from lorauter.routing.routes import Masked, Route
from lorauter.routing.task_index import TaskIndex, TaskInputs
from lorauter.routing.task_shares import Shares, nucleus_of, routes_of_shares

if TYPE_CHECKING:
    from lorauter.routing.encoder import Encoder

TEMPERATURE = 0.1  # of the softmax over cosines; the paper gives none


class VectorDatabaseRouter:
    """softmax over the cosines of the nearest inputs, cut at the nucleus, mass added up by task.

    The paper retrieves training examples; here they are the tasks' validation inputs. A query's confidence is the
    cosine to its nearest input.

    Args:
        encoder: loads the sentence encoder when first needed.
        inputs: reads the validation inputs.
        neighbours: inputs retrieved, ours to choose: the paper gives no number.
        nucleus: mass kept, the paper's p.
    """

    name = "vector_database"

    def __init__(
        self,
        index: TaskIndex,
        encoder: Callable[[], Encoder],
        inputs: Callable[[], TaskInputs],
        neighbours: int = 20,
        nucleus: float = 0.9,
    ) -> None:
        self._index, self._encoder, self._inputs = index, encoder, inputs
        self._neighbours, self._nucleus = neighbours, nucleus

    def route(self, queries: Sequence[str], masked: Masked = None) -> list[Route]:
        """One route a query, in order. A masked task's inputs are not retrieved."""
        if not queries:
            return []
        inputs = self._inputs()
        near = self._encoder().encode(queries) @ inputs.embeddings.T
        if masked is not None:
            hidden = np.asarray([-1 if place is None else place for place in self._index.places(masked)])
            near[inputs.owners[None, :] == hidden[:, None]] = -np.inf
        shares = shares_of_nearest(near, inputs.owners, len(self._index.tasks), self._neighbours, self._nucleus)
        return routes_of_shares(shares, _nearest_of_task(near, inputs.owners, shares.shape[1]), self._index)


def shares_of_nearest(
    near: npt.NDArray[np.float32], owners: npt.NDArray[np.int64], tasks: int, neighbours: int, nucleus: float
) -> Shares:
    """Shares of tasks, rows sum to 1, or to 0 where nothing may be retrieved.

    Args:
        near: cosines of queries to inputs, (queries, inputs), -inf for what must not be retrieved.
        owners: (inputs,).
    """
    rows = np.arange(len(near))[:, None]
    order = np.argsort(-near, axis=1, kind="stable")[:, :neighbours]
    nearest = near[rows, order].astype(np.float64)
    highest = np.where(np.isfinite(nearest[:, :1]), nearest[:, :1], 0.0)
    mass = nucleus_of(np.exp((nearest - highest) / TEMPERATURE), nucleus)
    shares = np.zeros((len(near), tasks))
    np.add.at(shares, (rows, owners[order]), mass)
    return shares


def _nearest_of_task(
    near: npt.NDArray[np.float32], owners: npt.NDArray[np.int64], tasks: int
) -> npt.NDArray[np.float32]:
    """The cosine to each task's nearest input: (queries, tasks)."""
    nearest = np.full((len(near), tasks), -np.inf, dtype=np.float32)
    for task in range(tasks):
        nearest[:, task] = near[:, owners == task].max(axis=1, initial=-np.inf)
    return nearest
