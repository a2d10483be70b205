"""A package of somebody else: a router, a gate, a composition, a metric and a strategy, each as small as can be.

Knows: what lorauter's documents promise. Does not know: anything else of lorauter.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from catalog.tasks.metrics import Metric
from lorauter.compositions.base import Composed, CompositionOptions, Merging, summed
from lorauter.compositions.cat import cat
from lorauter.gates.protocol import GateParts
from lorauter.racing.strategies import Problem, Seen, Step, StrategyOptions
from lorauter.routers import RouterParts
from lorauter.routing import Masked, Mixture, Route, TaskMatch


class FirstWord:
    """Which queries go to the first task, "What" ones to the second, all others to the last."""

    name = "first_word"
    compositions = ("heaviest_two",)

    def __init__(self, parts: RouterParts) -> None:
        self._index = parts.index

    def route(self, queries: Sequence[str], masked: Masked = None) -> list[Route]:
        """One adapter of weight 1 a query."""
        return [self._route(query.split()[0]) for query in queries]

    def _route(self, word: str) -> Route:
        place = {"Which": 0, "What": 1}.get(word, len(self._index.tasks) - 1)
        return Route(((self._index.best[place], 1.0),), (TaskMatch(self._index.tasks[place], 1.0, 1.0),), 1.0)


class EvenGate:
    """All candidates alike."""

    name = "even"

    def __init__(self, parts: GateParts) -> None:
        self.adapters = parts.adapters

    def weigh(self, module: str, x: torch.Tensor) -> torch.Tensor:
        """1 / K for each of K."""
        return torch.full((*x.shape[:2], len(self.adapters)), 1 / len(self.adapters), device=x.device)


class HeaviestTwo:
    """The two adapters of the largest weights, concatenated."""

    name = "heaviest_two"

    def __init__(self, options: CompositionOptions) -> None: ...

    def compose(self, mixture: Mixture) -> Composed:
        """At most one new adapter."""
        return Merging(self.name, {}, cat().pair).compose(summed(mixture)[:2])


SAME_LENGTH = Metric("same_length", "text", lambda text, target: float(len(text) == len(target)))


class FirstThree:
    """Every adapter on the first three examples; the best mean wins."""

    name = "first three"
    reads_likeness = False

    def __init__(self, options: StrategyOptions) -> None: ...

    def next(self, problem: Problem, seen: Seen) -> Step:
        """At most three evaluations a task and adapter."""
        counts = np.where(problem.open, np.minimum(problem.room, 3)[:, None], seen.counts)
        return Step(counts, seen.means.argmax(axis=1), lambda _task, _adapter: "three examples were met")
