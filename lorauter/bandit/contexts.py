"""Contexts: a query's sentence embedding as the few numbers that arms are linear in.

Knows: principal directions of task embeddings. Does not know: encoders, queries' texts, arms.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lorauter.bandit.arms import Floats


@dataclass(frozen=True, slots=True, eq=False)
class Basis:
    """Where a context's coordinates point.

    Args:
        mean: (D,), taken off first.
        directions: (D, d − 1), orthonormal.
    """

    mean: Floats
    directions: Floats

    @classmethod
    def of(cls, embeddings: npt.NDArray[np.float32], components: int) -> Basis:
        """The first principal directions of some vectors (n, D), each taken at length 1; n − 1 of them at most."""
        vectors = embeddings.astype(np.float64)
        vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
        mean = np.asarray(vectors.mean(axis=0))
        _left, spread, right = np.linalg.svd(vectors - mean, full_matrices=False)
        kept = min(components, int((spread > 1e-9 * max(float(spread.max(initial=0.0)), 1e-12)).sum()))
        return cls(mean, right[:kept].T.astype(np.float64))

    @property
    def d(self) -> int:
        """Length of a context."""
        return int(self.directions.shape[1]) + 1

    def contexts(self, queries: npt.NDArray[np.float32]) -> Floats:
        """(n, d), of unit vectors (n, D): the coordinates brought to length 1, a constant, and the whole too."""
        found = (queries.astype(np.float64) - self.mean) @ self.directions
        found /= np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-12)
        return np.asarray(np.concatenate([found, np.ones((len(found), 1))], axis=1) / np.sqrt(2))
