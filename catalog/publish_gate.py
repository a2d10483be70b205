"""The publish gate: a catalog that is much worse than the published one is not published unless a person says so.

Knows: coverage and mean lift of two catalogs, on the tasks that both have. Does not know: how either came about.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from catalog.errors import PublishRefused, SettingError


class Pick(Protocol):
    """What a catalog publishes for a task: a row of its table `best`."""

    @property
    def task(self) -> str:
        """Name of the task."""

    @property
    def adapter(self) -> str:
        """Key of the published adapter, "" for the base."""

    @property
    def set_aside(self) -> str | None:
        """Key of the adapter that a policy keeps from being published; None where it keeps none."""

    @property
    def lift(self) -> float:
        """Its score above the base's."""


@dataclass(frozen=True, slots=True)
class Gate:
    """How much worse a publish may be, at most.

    Args:
        coverage_fall: fall of the share of tasks that publish an adapter, or would without a policy against it.
        lift_fall: fall of the mean lift over the base, in points of the metric (0 to 1). Both on the tasks that both
            catalogs have.
    """

    coverage_fall: float = 0.1
    lift_fall: float = 0.05

    def __post_init__(self) -> None:
        for name in self.__slots__:
            if not 0 <= getattr(self, name) <= 1:
                raise SettingError(f"gate {name} is {getattr(self, name)}.", "Use a number from 0 to 1.")


def check(gate: Gate, before: Sequence[Pick], now: Sequence[Pick]) -> None:
    """Raises PublishRefused where `now` is worse than `before`, both of one base, by more than the gate allows."""
    old, new = ({pick.task: pick for pick in picks} for picks in (before, now))
    both = sorted(old.keys() & new.keys())
    if not both:
        return
    falls = {
        "coverage": (_coverage(old, both), _coverage(new, both), gate.coverage_fall),
        "mean lift": (_lift(old, both), _lift(new, both), gate.lift_fall),
    }
    told = [
        f"{name} falls from {was:.3f} to {now:.3f} (allowed: {allowed:g} less)"
        for name, (was, now, allowed) in falls.items()
        if was - now > allowed + 1e-9
    ]
    if told:
        raise PublishRefused(
            f"Not published: {' and '.join(told)}, on {len(both)} tasks.",
            'Look at `lorauter sql "FROM ledger_verdicts"` for what has gone; to publish all the same:'
            ' lorauter publish --force "REASON".',
        )


def _coverage(best: Mapping[str, Pick], tasks: Sequence[str]) -> float:
    return sum(bool(best[task].adapter or best[task].set_aside) for task in tasks) / len(tasks)


def _lift(best: Mapping[str, Pick], tasks: Sequence[str]) -> float:
    return sum(best[task].lift for task in tasks) / len(tasks)
