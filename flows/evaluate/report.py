"""What an evaluation says, as evaluation.json holds it: the fields here are the fields there.

Knows: names and meaning of the fields. Does not know: how figures are made, how they are told.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from flows.evaluate.evaluate import Cost
from lorauter.evaluation.figures import Figure
from lorauter.routing.routes import RouterOptions
from warehouse.plans.plan import Conditions


@dataclass(frozen=True, slots=True)
class DomainFigure:
    """A domain's mean score, and its share of the oracle's; None where the oracle scores 0."""

    score: float
    share: float | None


@dataclass(frozen=True, slots=True)
class SystemFigures:
    """One router with one composition in one setting.

    Args:
        setting: what was taken away.
        router: name of the router.
        composition: how adapters were put together.
        average: mean score over tasks.
        share: mean over domains of the share of the oracle's score.
        difference: of the average to the reference's, None where there is none in the setting.
        refused: share of items without an answer.
        refusals: why, each reason once.
        domains: by name.
        tasks: mean score by name.
        cost: what it took.
    """

    setting: str
    router: str
    composition: str
    average: Figure
    share: Figure
    difference: Figure | None
    refused: float
    refusals: tuple[str, ...]
    domains: Mapping[str, DomainFigure]
    tasks: Mapping[str, float]
    cost: Cost

    @property
    def name(self) -> str:
        """Router and composition."""
        return f"{self.router} + {self.composition}"


@dataclass(frozen=True, slots=True)
class JudgedTask:
    """A task that was evaluated, and how many test items it has."""

    domain: str | None
    metric: str
    n: int


@dataclass(frozen=True, slots=True)
class Intervals:
    """How intervals were drawn."""

    of: str
    level: float
    draws: int
    seed: int


@dataclass(frozen=True, slots=True)
class Report:
    """All figures of an evaluation.

    Args:
        name: hash of all that was asked.
        snapshot: id of the snapshot that routed.
        conditions: what decided the outputs.
        routing: the routers' constants and filters.
        reference: router and composition that others are compared with, None where none is.
        intervals: how they were drawn.
        tasks: by name.
        domains: names, in order.
        without_share: domains in which the oracle scores 0.
        systems: setting by setting.
    """

    name: str
    snapshot: str
    conditions: Conditions
    routing: RouterOptions
    reference: str | None
    intervals: Intervals
    tasks: Mapping[str, JudgedTask]
    domains: tuple[str, ...]
    without_share: tuple[str, ...]
    systems: tuple[SystemFigures, ...]

    @property
    def items(self) -> int:
        """Test items of all tasks."""
        return sum(task.n for task in self.tasks.values())
