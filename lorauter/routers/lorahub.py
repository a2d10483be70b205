"""LoraHub (arXiv 2307.13269) as a router: a query goes to the mixture that was learned for its nearest task.

Knows: when a mixture is learned, and from which examples. Does not know: how it is learned
(lorauter/routers/mixture_search), how near is measured.

A task's mixture is learned when the first query comes to it: 40 losses over at most 20 adapters drawn from the admitted
ones, on 5 of its validation examples, drawn too. In the paper a user brings the 5 examples of each new task; here the
nearest known task lends its own, and whether that task's mixture serves the query is what the router bets on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING

from catalog.errors import SnapshotError
from catalog.tasks.task import content_hash
from lorauter.routers.mixture_search import Labelled, SearchOptions, drawn, search_mixture
from lorauter.routing.routes import Masked, Mixture, Route, Routed, Router

if TYPE_CHECKING:
    from lorauter.routers import RouterParts
    from lorauter.routing.task_index import TaskInputs

EXAMPLES = 5


@dataclass(slots=True)
class Spent:
    """What a search costs, over all routers that share it.

    Args:
        passes: forward passes over a prompt.
        queries: queries asked.
    """

    passes: int = 0
    queries: int = 0


class LoraHubRouter:
    """The nearest task's learned mixture.

    Args:
        nearest: names a query's tasks, nearest first, such as LORAUTER's with top_k 1.
        learned: task → its mixture.
        spent: what `learned` adds to.
    """

    name = "lorahub"

    def __init__(self, nearest: Router, learned: Callable[[str], Mixture], spent: Spent | None = None) -> None:
        self._nearest, self._learned = nearest, learned
        self._spent = Spent() if spent is None else spent

    def route(self, queries: Sequence[str], masked: Masked = None) -> list[Route]:
        """One route a query, in order, with the task and the confidence that `nearest` gave. Raises as `learned`."""
        nearest = self._nearest.route(queries, masked)
        self._spent.queries += len(queries)
        return [self._of(route) for route in nearest]

    @property
    def passes(self) -> float:
        """Forward passes of the base that searches have taken, for each query asked so far."""
        return self._spent.passes / max(self._spent.queries, 1)

    def _of(self, nearest: Routed) -> Route:
        mixture = self._learned(nearest.tasks[0].task) if nearest.tasks else ()
        return Route(mixture, nearest.tasks, nearest.confidence)


class LearnedMixtures:
    """Mixtures learned on first use, kept where routers made of the same inputs find them.

    Raises:
        SnapshotError: on a call; the snapshot is from before targets were kept.
        SettingError, UnsupportedAdapter: on a call; as `search_mixture`.
    """

    def __init__(self, parts: RouterParts, options: SearchOptions | None = None) -> None:
        self._parts, self._options = parts, options or SearchOptions()
        self._candidates = drawn(parts.pool, self._options)
        self.spent = parts.fitted("lorahub's cost", Spent)

    def __call__(self, task: str) -> Mixture:
        """The mixture of a task of the index, over the parts' pool."""
        name = f"lorahub's mixture {content_hash([task, list(self._candidates)])}"
        return self._parts.fitted(name, lambda: self._search(task))

    def _search(self, task: str) -> Mixture:
        examples = labelled(self._parts.inputs(), self._parts.index.tasks.index(task), self._options.seed)
        self.spent.passes += self._options.steps * len(examples)
        return search_mixture(self._parts.engine(), self._candidates, examples, self._options)


def labelled(inputs: TaskInputs, task: int, seed: int, most: int = EXAMPLES) -> list[Labelled]:
    """Examples of one task, as they are answered. Raises SnapshotError where their targets are not known.

    Args:
        task: its place in the index.
        seed: draws which; `most` at most.
    """
    pairs = [
        (text, target)
        for text, target, owner in zip(inputs.texts, inputs.targets, inputs.owners, strict=False)
        if owner == task and target is not None
    ]
    if not pairs:
        raise SnapshotError(
            "The snapshot holds no targets of its validation inputs.",
            "LoraHub learns from them: publish again with `lorauter publish`, or use another router.",
        )
    kept = sorted(Random(seed).sample(range(len(pairs)), min(most, len(pairs))))
    return [Labelled(inputs.templates[task].replace("{input}", pairs[n][0]), pairs[n][1]) for n in kept]
