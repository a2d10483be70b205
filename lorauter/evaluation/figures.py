"""The figures of an evaluation: each system's average, share and difference with intervals; by domain and task too.

Knows: scores of systems on the same items. Does not know: where they come from, how figures are told.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lorauter.evaluation.intervals import DRAWS, drawn_means, interval
from lorauter.evaluation.shares import Array, Domains, average, domain_means, domain_shares, share, task_means


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure with its 95% interval. None: it cannot be known."""

    value: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class Figures:
    """One system's.

    Args:
        average: mean over tasks.
        share: of the oracle, see `lorauter.evaluation.shares.share`.
        difference: of the average to the reference's, None where there is none.
        domains: mean scores, in the order given.
        tasks: mean scores, in the order given.
        domain_shares: method ÷ oracle, None where the oracle scores 0.
    """

    average: Figure
    share: Figure
    difference: Figure | None
    domains: tuple[float, ...]
    domain_shares: tuple[float | None, ...]
    tasks: tuple[float, ...]


def figures_of(
    scores: Sequence[Array],
    domains: Domains,
    oracle: int,
    references: Sequence[int | None],
    draws: int = DRAWS,
) -> list[Figures]:
    """Figures of every system.

    Args:
        scores: of each task, float64 (systems, items), the same items for every system.
        oracle: place of the system that shares are shares of.
        references: of each system, the place of the one it is compared with.
    """
    means, drawn = task_means(scores), drawn_means(scores, draws)
    averages, shares = average(means), share(means, domains, oracle)
    drawn_averages, drawn_shares = average(drawn), share(drawn, domains, oracle)
    by_domain, by_share = domain_means(means, domains), domain_shares(means, domains, oracle)
    return [
        Figures(
            average=_figure(averages[one], drawn_averages[one]),
            share=_figure(shares[one], drawn_shares[one]),
            difference=None
            if other is None
            else _figure(averages[one] - averages[other], drawn_averages[one] - drawn_averages[other]),
            domains=tuple(by_domain[one].tolist()),
            domain_shares=tuple(_known(value) for value in by_share[one].tolist()),
            tasks=tuple(means[one].tolist()),
        )
        for one, other in enumerate(references)
    ]


def _figure(value: np.float64, drawn: Array) -> Figure:
    low, high = interval(drawn)
    return Figure(_known(float(value)), _known(float(low)), _known(float(high)))


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value
