"""Confidence: how likely it is that a query's own task is in the index, from held-out similarities.

Knows: two samples of highest similarities and what tells them apart. Does not know: how similarities come about.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Similarities = npt.NDArray[np.float32]
STRANGERS = 0.75
_NEAREST_ONE = 1 - 1e-6  # cosines end here: Fisher's transform of 1 is infinite


class Confidence:
    """Platt's logistic (1999) on Fisher's transform of the highest cosine, both samples counting alike.

    Args:
        own: highest cosines of held-out queries whose task is in the index.
        strangers: of queries whose task is not.
        lost: share of queries like `own` that may be below the floor, in [0, 1).
    """

    floor: float
    """The cosine below which a query goes to the base: at most the share `lost` of `own` is below it, and at most
    three in four of `strangers`. Own inputs that are filled from a few phrasings are all alike: a query phrased
    otherwise is farther than nearly all of them, and yet nearer than strangers are."""

    def __init__(self, own: Similarities, strangers: Similarities, lost: float) -> None:
        from sklearn.linear_model import LogisticRegression

        seen = _fisher(np.concatenate([own, strangers]))[:, None]
        truth = np.repeat([True, False], [len(own), len(strangers)])
        self._model: Any = LogisticRegression(class_weight="balanced").fit(seen, truth)
        if self._model.coef_[0, 0] < 0:  # few tasks, all alike: nothing can be told, and least of all the contrary
            self._model.coef_[:], self._model.intercept_[:] = 0.0, 0.0
        least_own = np.sort(own)[math.floor(lost * len(own))]
        self.floor = min(float(least_own), float(np.quantile(strangers, STRANGERS)))

    def of(self, highest: Similarities) -> Floats:
        """Probability, in [0, 1], by highest cosine: it never falls as the cosine grows."""
        return np.asarray(self._model.predict_proba(_fisher(highest)[:, None])[:, 1])


def _fisher(cosines: Similarities) -> Floats:
    return np.asarray(np.arctanh(np.clip(cosines.astype(np.float64), -_NEAREST_ONE, _NEAREST_ONE)))
