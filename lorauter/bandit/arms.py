"""Linear arms: what each arm's rewards say of it, by ridge regression, and the cache-aware score of LinUCB.

Knows: V, b and what follows from them. Does not know: caches' contents, epochs, what an arm stands for.

Every array may have leading axes, independent runs side by side: of shape L, then arms N, then the context's d.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]


class Arms:
    """Ridge regressions, one an arm.

    Args:
        v: (*L, N, d, d), ridge · I + Σ x xᵀ of the rewards that an arm got.
        b: (*L, N, d), Σ reward · x.

    Attributes:
        theta: (*L, N, d), V⁻¹ b.
    """

    __slots__ = ("_inverse", "_runs", "b", "theta", "v")

    def __init__(self, v: Floats, b: Floats) -> None:
        self.v, self.b = v, b
        self._inverse: Floats = np.linalg.inv(v).astype(np.float64, copy=False)
        self.theta = _times(self._inverse, b)
        self._runs: tuple[Ints, ...] = tuple(np.asarray(place) for place in np.indices(b.shape[:-2]))

    @classmethod
    def fresh(cls, arms: int, d: int, ridge: float = 1.0, runs: tuple[int, ...] = ()) -> Arms:
        """Arms that got no reward yet."""
        v = np.broadcast_to(ridge * np.eye(d), (*runs, arms, d, d)).copy()
        return cls(v, np.zeros((*runs, arms, d)))

    def estimates(self, x: Floats) -> Floats:
        """θ_a·x, (*L, N), of a context x (*L, d)."""
        return np.asarray((self.theta * x[..., None, :]).sum(-1))

    def widths(self, x: Floats) -> Floats:
        """√(xᵀ V_a⁻¹ x), (*L, N): how little is known of each arm in that direction."""
        turned = (self._inverse * x[..., None, None, :]).sum(-1)
        return np.asarray(np.sqrt(np.maximum((turned * x[..., None, :]).sum(-1), 0.0)))

    def learn(self, arm: Ints, x: Floats, reward: Floats) -> None:
        """Take the reward of one arm a run.

        Args:
            arm: (*L,), the chosen arm.
            x: (*L, d), its context.
            reward: (*L,).
        """
        at = (*self._runs, arm)
        self.v[at] += x[..., :, None] * x[..., None, :]
        self.b[at] += x * reward[..., None]
        self._inverse[at] = np.linalg.inv(self.v[at])
        self.theta[at] = _times(self._inverse[at], self.b[at])

    def correct(self, arm: Ints, x: Floats, change: Floats) -> None:
        """Change a reward that was learned already by `change`. Args: as `learn`."""
        at = (*self._runs, arm)
        self.b[at] += change[..., None] * x
        self.theta[at] = _times(self._inverse[at], self.b[at])


def scores(arms: Arms, x: Floats, beta: float, costs: Floats, cached: Bools) -> Floats:
    """POLAR's score of each arm, (*L, N): θ_a·x + β √(xᵀ V_a⁻¹ x) − c_a · 1[a ∉ cache].

    Args:
        arms: what is known of them.
        x: (*L, d), the context.
        beta: how much what is not known counts.
        costs: (N,) or (*L, N), of loading an arm, in units of reward; 0 for one that needs no loading, as the base.
        cached: (*L, N), whether it is resident.
    """
    return arms.estimates(x) + beta * arms.widths(x) - costs * ~cached


def _times(matrices: Floats, vectors: Floats) -> Floats:
    return np.asarray((matrices * vectors[..., None, :]).sum(-1))
