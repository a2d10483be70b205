"""Means over items, tasks and domains, and shares of the oracle.

Knows: how scores become the paper's figures (LORAUTER, arXiv 2601.21795). Does not know: where scores come from, how
sure they are (lorauter/evaluation/intervals).

Arrays are float64 (systems, tasks, …); what follows, a draw of the bootstrap say, is kept as it is.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Domains:
    """Groups of like tasks. `places`: the tasks of each, as places among all."""

    names: tuple[str, ...]
    places: tuple[tuple[int, ...], ...]


def domains_of(tasks: Sequence[str], domains: Sequence[str | None]) -> Domains:
    """The domains in the order in which they occur; a task without one is a domain of its own."""
    groups: dict[tuple[bool, str], list[int]] = {}
    for place, (task, domain) in enumerate(zip(tasks, domains, strict=True)):
        groups.setdefault((not domain, domain or task), []).append(place)
    return Domains(tuple(name for _, name in groups), tuple(tuple(places) for places in groups.values()))


def task_means(scores: Sequence[Array]) -> Array:
    """(systems, tasks) from each task's scores (systems, items)."""
    return np.stack([one.mean(axis=1) for one in scores], axis=1)


def average(means: Array) -> Array:
    """Mean over tasks: (systems, …)."""
    return np.asarray(means.mean(axis=1))


def domain_means(means: Array, domains: Domains) -> Array:
    """Mean over each domain's tasks: (systems, domains, …)."""
    return np.stack([means[:, list(places)].mean(axis=1) for places in domains.places], axis=1)


def domain_shares(means: Array, domains: Domains, oracle: int) -> Array:
    """Method ÷ oracle a domain: (systems, domains, …); nan where the oracle scores 0. `oracle`: its place."""
    by_domain = domain_means(means, domains)
    ceiling = np.broadcast_to(by_domain[oracle], by_domain.shape)
    unknown = np.full_like(by_domain, np.nan)
    return np.asarray(np.divide(by_domain, ceiling, out=unknown, where=ceiling > 0))


def share(means: Array, domains: Domains, oracle: int) -> Array:
    """The headline: the unweighted mean of the domains' shares, (systems, …); nan where the oracle scores 0 in all."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of a mean over nothing: it is nan, as we say
        return np.asarray(np.nanmean(domain_shares(means, domains, oracle), axis=1))
