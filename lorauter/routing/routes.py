"""Routes: what a router says about a query.

Knows: the protocol that every router keeps. Does not know: any router, any model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from catalog.errors import SettingError

Mixture = tuple[tuple[str, float], ...]
"""Adapter keys with their weights; empty is the base alone; a key named twice adds up."""


@dataclass(frozen=True, slots=True)
class TaskMatch:
    """A task with its cosine similarity to the query and its weight in the route."""

    task: str
    similarity: float
    weight: float


@dataclass(frozen=True, slots=True)
class Route:
    """Where a query goes.

    Args:
        mixture: adapters and weights to compose; tasks that publish the base add no adapter.
        tasks: the tasks behind it, nearest first; of weight 0 where the router fell back to the base.
        confidence: cosine to the nearest task, in [-1, 1]; of a calibrated router the probability, in [0, 1], that the
            query's own task is among its tasks; nan where the router has none.
    """

    mixture: Mixture
    tasks: tuple[TaskMatch, ...] = field(default=())
    confidence: float = float("nan")


@dataclass(frozen=True, slots=True)
class RouterOptions:
    """Constants of the routers, the paper's by default.

    Args:
        top_k: tasks kept.
        temperature: of the softmax over their cosines.
        fallback: share of its own tasks' queries that a calibrated router may leave to the base; 0: it never does.
        neighbours: validation inputs that the vector database retrieves.
        nucleus: mass of them, or probability of a classifier's tasks, that is kept.
        clusters: how many stand in for tasks where labels are not used; 0: twice as many as there are tasks.
        licences: adapters of one of these licence tags only; empty: of any.
        max_bytes: weights files of so many bytes at most.
        authors: adapters of these owners of repos only; empty: of all.
        not_authors: of none of these. An adapter that does not pass is treated as gone (lorauter/routing/filters).
    """

    top_k: int = 3
    temperature: float = 0.2
    fallback: float = 0.05
    neighbours: int = 20
    nucleus: float = 0.9
    clusters: int = 0
    licences: tuple[str, ...] = ()
    max_bytes: int | None = None
    authors: tuple[str, ...] = ()
    not_authors: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.neighbours < 1 or not 0 < self.nucleus <= 1 or self.clusters < 0:
            raise SettingError(
                f"neighbours {self.neighbours}, nucleus {self.nucleus} or clusters {self.clusters} makes no sense.",
                "Use at least 1 neighbour, a nucleus above 0 and up to 1, and 0 or more clusters.",
            )


Masked = Sequence[str | None] | None


class Routed(Protocol):
    """What every route says, a `Route` or a `GatedRoute`."""

    @property
    def mixture(self) -> Mixture:
        """Adapter keys with weights. Raises SettingError where they differ from token to token."""
        ...

    @property
    def tasks(self) -> tuple[TaskMatch, ...]:
        """The tasks behind it, nearest first."""
        ...

    @property
    def confidence(self) -> float:
        """As `Route`."""
        ...


class Router(Protocol):
    """Anything that turns queries into routes. One small file each under lorauter/routers/."""

    name: str

    def route(self, queries: Sequence[str], masked: Masked = None) -> Sequence[Routed]:
        """One route a query, in order.

        Args:
            masked: a task a query that gets no weight, or None for none: LORAUTER's OOD setting. Routers that know no
                tasks have nothing to mask.
        """
        ...


@dataclass(frozen=True, slots=True)
class Question:
    """A query with what is known of it beside its text. One text may be asked for two tasks, with two prompts.

    Args:
        text: the query.
        task: its true task, "" where unknown.
        prompt: as it is answered, "" where that is the text.
    """

    text: str
    task: str = ""
    prompt: str = ""


@runtime_checkable
class ReadsQuestions(Protocol):
    """A router that decides by more than a query's text: by its true task, or by its prompt."""

    def route_questions(self, questions: Sequence[Question], masked: Masked = None) -> Sequence[Routed]:
        """As `Router.route`."""
        ...


def routes_of(router: Router, questions: Sequence[Question], masked: Masked = None) -> Sequence[Routed]:
    """One route a question, in order: by all that is known of it where the router reads that, else by its text."""
    if isinstance(router, ReadsQuestions):
        return router.route_questions(questions, masked)
    return router.route([question.text for question in questions], masked)


def added_up(mixture: Mixture) -> dict[str, float]:
    """A mixture's weights by adapter, in its order: repeated keys added up, adapters of weight 0 left out."""
    weights: dict[str, float] = {}
    for key, weight in mixture:
        weights[key] = weights.get(key, 0.0) + weight
    return {key: weight for key, weight in weights.items() if weight != 0}


def mixture_of(weights: Mapping[str, float]) -> Mixture:
    """A mixture in canonical order (heaviest first, then by key), without the base and without zero weights."""
    kept = [(adapter, weight) for adapter, weight in weights.items() if adapter and weight]
    return tuple(sorted(kept, key=lambda pair: (-pair[1], pair[0])))
