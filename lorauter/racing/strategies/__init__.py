"""Which evaluations to run: one small file a strategy. `STRATEGIES` maps the names people use to them.

Knows: which strategies there are, what each is made from. Does not know: races, scores. See base for the protocol.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from catalog.plugins import Origin, Registry
from lorauter.racing.halving import HalvingOptions
from lorauter.racing.strategies.base import (
    Problem,
    Seen,
    Step,
    Strategy,
    evaluations,
    nothing_seen,
    with_scores,
    without,
)
from lorauter.racing.strategies.exhaustive import Exhaustive
from lorauter.racing.strategies.halving import Halving, paper_halving, product_halving
from lorauter.racing.strategies.packaged import CheckedStrategy, PackagedStrategy
from lorauter.racing.strategies.racing import Racing

__all__ = [
    "STRATEGIES",
    "Exhaustive",
    "Halving",
    "Problem",
    "Racing",
    "Seen",
    "Step",
    "Strategy",
    "StrategyOptions",
    "evaluations",
    "nothing_seen",
    "open_strategy",
    "paper_halving",
    "product_halving",
    "with_scores",
    "without",
]


@dataclass(frozen=True, slots=True)
class StrategyOptions:
    """What a strategy may be made from: the constants that people set.

    Args:
        racing: of the race.
        halving: of successive halving.
    """

    racing: Racing = field(default_factory=Racing)
    halving: HalvingOptions = field(default_factory=HalvingOptions)


MakeStrategy = Callable[[StrategyOptions], Strategy]


def _guarded(make: MakeStrategy, origin: Origin) -> MakeStrategy:
    """Makes a package's strategy, its steps checked."""

    def made(options: StrategyOptions) -> Strategy:
        with origin.blamed():
            return CheckedStrategy(make(options), origin)

    return made


STRATEGIES: Registry[MakeStrategy] = Registry(
    "lorauter.strategies",
    "strategy",
    {
        "racing": lambda options: options.racing,
        "halving": lambda options: product_halving(options.halving),
        "exhaustive": lambda _options: Exhaustive(),
    },
    wanted="a function of lorauter.racing.strategies.StrategyOptions",
    guarded=_guarded,
)
"""By name: these, and those that packages bring (catalog/plugins)."""


def open_strategy(name: str, options: StrategyOptions) -> Strategy:
    """The strategy of that name.

    Raises:
        SettingError: there is none.
        PluginError: the package that brings it does not load.
    """
    STRATEGIES.check(name)
    made, package = STRATEGIES[name](options), STRATEGIES.package(name)
    return PackagedStrategy(name, package, made.name, made) if package else made
