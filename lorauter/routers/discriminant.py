"""Ours: LORAUTER's frame with tasks told apart by a linear discriminant of form and meaning, and a calibrated fallback.

Knows: when a query is weighed and when it goes to the base. Does not know: the representation
(lorauter/routing/linear_discriminant), calibration (lorauter/routing/confidence), where inputs come from.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from lorauter.routing.confidence import Confidence
from lorauter.routing.linear_discriminant import TaskDiscriminant, count_texts
from lorauter.routing.routes import Masked, Route, RouterOptions
from lorauter.routing.task_index import TaskIndex, TaskInputs, check_inputs
from lorauter.routing.task_weights import TaskWeights, check_constants, mask, routes_of, weigh_tasks

if TYPE_CHECKING:
    from lorauter.routing.encoder import Encoder

Made = TypeVar("Made")
LEAST_TASKS, LEAST_INPUTS = 3, 2  # one task is left out to calibrate, two remain; one input is held out, one remains
FOLDS = 8
LOST = 0.05  # share of own queries below the floor where none is left to the base
EVENLY = 5.0  # times the temperature below the floor


class Fits(Protocol):
    """Where fits are kept, by name, such as `RouterParts.fitted`."""

    def __call__(self, name: str, fit: Callable[[], Made], /) -> Made:
        """What `fit` makes, or made before under that name."""
        ...


def fit_anew(_: str, fit: Callable[[], Made], /) -> Made:
    """Keeps nothing."""
    return fit()


class DiscriminantRouter:
    """Similarities are cosines in discriminant coordinates; top K and softmax as in LORAUTER (arXiv 2601.21795).

    Where the highest cosine, and with it the confidence that the query's own task is in the index, is below the
    calibrated floor, the mixture is empty and every task's weight 0. A router that never leaves a query to the base
    (`fallback` 0) weighs more evenly there: which relative of an unknown task is nearest says little.
    Fitted on the tasks' validation inputs when the first query comes, in seconds.

    Args:
        encoder: loads the sentence encoder when first needed.
        inputs: reads the validation inputs.
        fitted: keeps what is fitted on them, for routers over other adapters of the same tasks.

    Raises:
        SettingError: on the first query, fewer than 3 tasks or 2 inputs of a task.
    """

    def __init__(
        self,
        index: TaskIndex,
        encoder: Callable[[], Encoder],
        inputs: Callable[[], TaskInputs],
        options: RouterOptions | None = None,
        fitted: Fits = fit_anew,
        name: str = "discriminant",
    ) -> None:
        self.name = name
        options = options or RouterOptions()
        check_constants(options.top_k, options.temperature)
        self.index = index
        self._encoder = encoder
        self._inputs = inputs
        self._options = options
        self._fitted = fitted
        self._lost = options.fallback or LOST

    def route(self, queries: Sequence[str], masked: Masked = None) -> list[Route]:
        """One route a query, in order. masked: a task a query that gets no weight, LORAUTER's OOD setting."""
        if not queries:
            return []
        return routes_of(self.weigh(queries, masked), self.index.tasks, self.index.best)

    def weigh(self, queries: Sequence[str], masked: Masked = None) -> TaskWeights:
        """The same as arrays."""
        similarities = self.similarities(queries)
        if masked is not None:
            similarities = mask(similarities, self.index.places(masked))
        highest = similarities.max(axis=1)
        familiar = (highest >= self._confidence.floor)[:, None]
        temperature = self._options.temperature * np.where(familiar, 1.0, EVENLY)
        near = weigh_tasks(similarities, self._options.top_k, temperature)
        weights = near.weights * familiar if self._options.fallback else near.weights
        return replace(near, weights=weights, confidence=self._confidence.of(highest))

    def similarities(self, queries: Sequence[str]) -> npt.NDArray[np.float32]:
        """Cosine in discriminant coordinates: float32 (queries, tasks)."""
        return self._discriminant.similarities(count_texts(queries, self._encoder().encode(queries)))

    @cached_property
    def _discriminant(self) -> TaskDiscriminant:
        return self._fitted("discriminant", self._fit)

    @cached_property
    def _confidence(self) -> Confidence:
        folds = min(FOLDS, len(self.index.tasks))
        return self._fitted(
            f"discriminant's confidence {self._lost}",
            lambda: Confidence(*self._discriminant.held_out(folds), lost=self._lost),
        )

    def _fit(self) -> TaskDiscriminant:
        inputs = self._inputs()
        check_inputs(self.name, self.index, inputs, LEAST_TASKS, LEAST_INPUTS)
        return TaskDiscriminant(count_texts(inputs.texts, inputs.embeddings), inputs.owners)
