"""Which evaluations to run: one small file a strategy. `STRATEGIES` maps the names people use to them.

Knows: which strategies there are, what each is made from. Does not know: races, scores. See base for the protocol.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from catalog.plugins import Registry
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
STRATEGIES: Registry[MakeStrategy] = Registry(
    "lorauter.strategies",
    "strategy",
    {
        "racing": lambda options: options.racing,
        "halving": lambda options: product_halving(options.halving),
        "exhaustive": lambda _options: Exhaustive(),
    },
    wanted="a function of lorauter.racing.strategies.StrategyOptions",
)
"""By name: these, and those that packages bring (catalog/plugins)."""


@dataclass(frozen=True, slots=True)
class PackagedStrategy:
    """A package's strategy. Its text names the package: a race is named by the text of its strategy.

    Args:
        called: its name in `STRATEGIES`.
        package: what brings it, with the version.
        told: its own name, with its settings.
        strategy: what decides.
    """

    called: str
    package: str
    told: str
    strategy: Strategy = field(repr=False, compare=False)

    @property
    def name(self) -> str:
        """As the strategy's."""
        return self.strategy.name

    @property
    def reads_likeness(self) -> bool:
        """As the strategy's."""
        return self.strategy.reads_likeness

    def next(self, problem: Problem, seen: Seen) -> Step:
        """As the strategy's."""
        return self.strategy.next(problem, seen)


def open_strategy(name: str, options: StrategyOptions) -> Strategy:
    """The strategy of that name.

    Raises:
        SettingError: there is none.
        PluginError: the package that brings it does not load.
    """
    STRATEGIES.check(name)
    made, package = STRATEGIES[name](options), STRATEGIES.package(name)
    return PackagedStrategy(name, package, made.name, made) if package else made
