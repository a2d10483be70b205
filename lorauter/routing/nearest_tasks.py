"""The nearest of very many tasks: screened in bfloat16, then compared exactly.

Knows: that a bfloat16 product finds which tasks may be nearest, three times as fast as float32 does. Does not know: how
similarities become weights (lorauter/routing/task_weights), what a masked task is for.

An approximate index would grow more slowly, but loses: docs/decisions/0017-cost-of-a-route.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from lorauter.routing.task_weights import TaskWeights, weigh_tasks

Vectors = npt.NDArray[np.float32]
LEAST_TASKS = 2_000  # with fewer, comparing all exactly is as fast
ROWS = 512  # queries at a time: their products with 10,000 tasks are 10 MB
CANDIDATES = 16


class NearestTasks:
    """Task embeddings, screened.

    Args:
        embeddings: float32 (tasks, d), not normalised.
    """

    def __init__(self, embeddings: Vectors) -> None:
        import torch

        norms = np.linalg.norm(embeddings, axis=1, keepdims=True)
        self._unit = np.asarray(embeddings / np.maximum(norms, 1e-12), dtype=np.float32)
        self._rough = torch.from_numpy(self._unit).to(torch.bfloat16).T.contiguous()

    @classmethod
    def where_it_pays(cls, embeddings: Vectors) -> NearestTasks | None:
        """None for few tasks, or on a CPU that is slow in bfloat16."""
        from lorauter.device import cpu_is_fast_in_bf16

        return cls(embeddings) if len(embeddings) >= LEAST_TASKS and cpu_is_fast_in_bf16() else None

    def find(self, queries: Vectors, count: int) -> tuple[npt.NDArray[np.int64], Vectors]:
        """Places of the roughly nearest tasks, ascending, int64 (n, count), and their exact cosines, float32.

        Args:
            queries: unit vectors (n, d), at least one.
            count: at most as many as there are tasks.
        """
        parts = [self._find(queries[start : start + ROWS], count) for start in range(0, len(queries), ROWS)]
        return np.concatenate([places for places, _ in parts]), np.concatenate([cosines for _, cosines in parts])

    def weigh(
        self, queries: Vectors, masked: Sequence[int | None] | None, top_k: int, temperature: float
    ) -> TaskWeights:
        """As `weigh_tasks` over all tasks. masked: a query's task, by its place, that gets no weight."""
        places, cosines = self.find(queries, min(max(CANDIDATES, 4 * top_k), len(self._unit)))
        if masked is not None:
            hidden = np.asarray([-1 if place is None else place for place in masked])
            cosines[places == hidden[:, None]] = -np.inf
        weights = weigh_tasks(cosines, top_k, temperature)
        return replace(weights, tasks=np.take_along_axis(places, weights.tasks, axis=1))

    def _find(self, queries: Vectors, count: int) -> tuple[npt.NDArray[np.int64], Vectors]:
        import torch

        rough = torch.from_numpy(queries).to(torch.bfloat16) @ self._rough
        places = np.sort(rough.topk(count, dim=1, sorted=False).indices.numpy(), axis=1)
        return places, np.einsum("nd,nkd->nk", queries, self._unit[places])
