"""The publish gate: a catalog that is much worse than the published one is not published unless a person says so.

Knows: coverage and mean lift of two catalogs, on the tasks that both have. Does not know: how either came about.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from catalog.errors import PublishRefused, SettingError

Rows = Sequence[Mapping[str, Any]]
"""Rows of `best`, of one base."""


@dataclass(frozen=True, slots=True)
class Gate:
    """How much worse a publish may be, at most.

    Args:
        coverage_fall: fall of the share of tasks that publish an adapter.
        lift_fall: fall of the mean lift over the base, in points of the metric (0 to 1). Both on the tasks that both
            catalogs have.
    """

    coverage_fall: float = 0.1
    lift_fall: float = 0.05

    def __post_init__(self) -> None:
        for name in self.__slots__:
            if not 0 <= getattr(self, name) <= 1:
                raise SettingError(f"gate {name} is {getattr(self, name)}.", "Use a number from 0 to 1.")


def check(gate: Gate, before: Rows, now: Rows) -> None:
    """Raises PublishRefused where `now` is worse than `before` by more than the gate allows."""
    old, new = ({row["task"]: row for row in rows} for rows in (before, now))
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


def _coverage(best: Mapping[str, Mapping[str, Any]], tasks: Sequence[str]) -> float:
    return sum(bool(best[task]["adapter"]) for task in tasks) / len(tasks)


def _lift(best: Mapping[str, Mapping[str, Any]], tasks: Sequence[str]) -> float:
    return sum(float(best[task]["lift"]) for task in tasks) / len(tasks)
