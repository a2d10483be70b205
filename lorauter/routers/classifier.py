"""A trained classifier in the manner of DLP-LoRA (arXiv 2410.01497): its probabilities are what adapters weigh.

Knows: the classifier, top p. Does not know: where embeddings come from, what is composed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from catalog.errors import SettingError
from lorauter.routing.routes import Masked, Route
from lorauter.routing.task_index import TaskIndex, TaskInputs
from lorauter.routing.task_shares import nucleus_of, routes_of_shares
from lorauter.routing.task_weights import to_one

if TYPE_CHECKING:
    from lorauter.routing.encoder import Encoder

INVERSE_REGULARISATION = 100.0  # unit vectors are short: with scikit-learn's 1.0 every task is nearly as probable


def fit_classifier(inputs: TaskInputs) -> Any:
    """Multinomial logistic regression on the sentence embeddings of the validation inputs.

    Raises:
        SettingError: the inputs are of one task only.
    """
    from sklearn.linear_model import LogisticRegression

    if not np.ptp(inputs.owners):
        raise SettingError(
            "The router classifier needs 2 tasks to tell apart.",
            "Add some with `lorauter tasks add` and refresh, or use the router `lorauter`.",
        )
    model = LogisticRegression(C=INVERSE_REGULARISATION, max_iter=1000)
    return model.fit(inputs.embeddings, inputs.owners)


class ClassifierRouter:
    """The fewest tasks whose probability reaches p, weighing as probable as they are; similarity is the probability.

    What differs from the paper: a logistic regression on frozen embeddings, fitted in a second and not published;
    p = 0.9 in place of 0.6; the kept probabilities over their sum in place of a second softmax. `dlp_lora` has those.

    Args:
        encoder: loads the sentence encoder when first needed.
        classifier: gives what `fit_classifier` made.
        nucleus: p, the probability that is kept.
    """

    name = "classifier"

    def __init__(
        self, index: TaskIndex, encoder: Callable[[], Encoder], classifier: Callable[[], Any], nucleus: float = 0.9
    ) -> None:
        self._index, self._encoder, self._classifier, self._nucleus = index, encoder, classifier, nucleus

    def route(self, queries: Sequence[str], masked: Masked = None) -> list[Route]:
        """One route a query, in order. A masked task's probability goes to the others in proportion."""
        if not queries:
            return []
        probable = self._probabilities(queries)
        if masked is not None:
            for row, place in enumerate(self._index.places(masked)):
                if place is not None:
                    probable[row, place] = 0.0
            probable = to_one(probable)
        return routes_of_shares(nucleus_of(probable, self._nucleus), probable, self._index)

    def _probabilities(self, queries: Sequence[str]) -> np.ndarray[Any, np.dtype[np.float64]]:
        """(queries, tasks)."""
        model = self._classifier()
        probabilities = np.zeros((len(queries), len(self._index.tasks)))
        probabilities[:, model.classes_] = model.predict_proba(self._encoder().encode(queries))
        return probabilities
