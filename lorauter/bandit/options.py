"""The policy's constants, as settings hold them.

Knows: names, defaults, what makes no sense. Does not know: where settings come from.
"""

from __future__ import annotations

from dataclasses import dataclass

from catalog.errors import SettingError
from lorauter.bandit.polar import PolarOptions


@dataclass(frozen=True, slots=True)
class PolicyOptions:
    """Constants of the router `polar`. The last three are fixed for a policy when it first answers.

    Args:
        resident: adapters that stay loaded; 0: all places of the bank but one, which is for the others.
        load_cost: what loading an adapter costs, in units of score.
        beta: how much what is not known of an adapter speaks for it.
        kappa: probes: each epoch every adapter gets ⌈kappa · d · ln T⌉ scores or more; 0: none.
        first_epoch: scores until the resident adapters are first chosen; the next epoch has twice as many.
        ridge: of the regressions.
        components: numbers of a context, beside the constant.
        seed: of the draws.
    """

    resident: int = 0
    load_cost: float = 0.02
    beta: float = 1.0
    kappa: float = 0.05
    first_epoch: int = 256
    ridge: float = 1.0
    components: int = 8
    seed: int = 0

    def __post_init__(self) -> None:
        if self.resident < 0 or self.load_cost < 0 or not 0 <= self.components <= 64:
            raise SettingError(
                f"resident {self.resident}, load_cost {self.load_cost} or components {self.components} makes no sense.",
                "Use 0 or more for the first two, and 0 to 64 components.",
            )
        self.polar(2)

    def polar(self, capacity: int) -> PolarOptions:
        """The bandit's own constants, for a bank of so many places; one of them stays free. Raises SettingError."""
        most = max(1, capacity - 1)
        size = min(self.resident, most) if self.resident else most
        return PolarOptions(size=size, beta=self.beta, ridge=self.ridge, first_epoch=self.first_epoch, kappa=self.kappa)
