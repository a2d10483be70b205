"""DLP-LoRA (arXiv 2410.01497): a trained multilayer perceptron says which tasks a prompt may be of; their adapters are
mixed once for the whole prompt.

Knows: which tasks are kept, what they weigh. Does not know: training (lorauter/train/dlp_lora), encoders.

Of the probabilities, sorted, those are kept before which the mass is at most p = 0.6; their weights are a *second*
softmax, of the kept probabilities: .55 and .30 weigh .56 and .44, not .65 and .35. Both are the published code's.
Unlike there, the perceptron reads the sentence embedding of the catalog's frozen encoder: the code trains a small
transformer from the start, on many more examples than a validation set has.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from lorauter.routing.mlp import Floats, forward
from lorauter.routing.routes import Masked, Route
from lorauter.routing.task_index import TaskIndex
from lorauter.routing.task_shares import Shares, routes_of_shares
from lorauter.routing.task_weights import mask
from lorauter.trained.state import TrainedState, listed, shaped

if TYPE_CHECKING:
    from lorauter.routing.encoder import Encoder

P = 0.6
LAYERS = 4
_ROUNDING = 1e-9  # 0.4 + 0.2 goes beyond 0.6


class DlpLoraRouter:
    """Tasks of the nucleus, weighing by a softmax of their probabilities; similarity and confidence are probabilities.

    Args:
        index: the tasks with their published adapters.
        encoder: loads the sentence encoder when first needed.
        state: gives what `lorauter fit dlp_lora` made, when first needed.
    """

    name = "dlp_lora"

    def __init__(self, index: TaskIndex, encoder: Callable[[], Encoder], state: Callable[[], TrainedState]) -> None:
        self._index, self._encoder, self._state = index, encoder, state

    def route(self, queries: Sequence[str], masked: Masked = None) -> list[Route]:
        """One route a query, in order. A masked task has no logit: the others' probabilities add up to 1."""
        if not queries:
            return []
        logits = forward(self._layers, self._encoder().encode(queries))
        if masked is not None:
            logits = mask(logits, self._index.places(masked))
        probable = probabilities(logits)
        return routes_of_shares(kept_shares(probable), probable, self._index)

    def similarities(self, queries: Sequence[str]) -> Shares:
        """Probabilities: (queries, tasks)."""
        return probabilities(forward(self._layers, self._encoder().encode(queries)))

    @cached_property
    def _layers(self) -> list[tuple[Floats, Floats]]:
        """Its weights, with their outputs in the order of the index."""
        state, width = self._state(), None
        layers = []
        for number in range(LAYERS):
            weight = shaped(state, f"layers.{number}.weight", None, width)
            layers.append((weight, shaped(state, f"layers.{number}.bias", len(weight))))
            width = len(weight)
        tasks = {task: place for place, task in enumerate(listed(state, "outputs", self._index.tasks))}
        order = [tasks[task] for task in self._index.tasks]
        weight, bias = layers[-1]
        shaped(state, f"layers.{LAYERS - 1}.weight", len(tasks), None)
        return [*layers[:-1], (weight[order], bias[order])]


def probabilities(logits: Floats) -> Shares:
    """Softmax of rows; a row of -inf alone is 0."""
    highest = logits.max(axis=1, keepdims=True).astype(np.float64)
    raised = np.exp(logits - np.where(np.isfinite(highest), highest, 0.0))
    sums = raised.sum(axis=1, keepdims=True)
    return np.asarray(raised / np.where(sums > 0, sums, 1.0), dtype=np.float64)


def kept_shares(probable: Shares, p: float = P) -> Shares:
    """Weights of the kept entries of each row, of the others 0: see the module. Of equal ones the first comes first."""
    order = np.argsort(-probable, axis=1, kind="stable")
    falling = np.take_along_axis(probable, order, axis=1)
    before = np.cumsum(falling, axis=1) - falling
    kept = (before <= p + _ROUNDING) & (falling > 0)
    raised = np.where(kept, np.exp(falling), 0.0)
    sums = raised.sum(axis=1, keepdims=True)
    shares = np.zeros_like(probable)
    np.put_along_axis(shares, order, raised / np.where(sums > 0, sums, 1.0), axis=1)
    return shares
