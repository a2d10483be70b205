"""Systems: which router is judged with which composition in which setting.

Knows: which of them make sense together. Does not know: how any of them works.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from catalog.errors import SettingError
from lorauter.compositions import COMPOSITIONS, MIXTURE, OWN
from lorauter.evaluation.published_compositions import published_compositions
from lorauter.evaluation.settings import NON_OOD, SETTINGS
from lorauter.routers import ROUTERS, is_gate

ORACLE = "oracle"
CONTROLS = (ORACLE, "uniform", "random", "base")


@dataclass(frozen=True, slots=True)
class System:
    """One router with one composition in one setting."""

    setting: str
    router: str
    composition: str

    @property
    def name(self) -> str:
        """Router and composition."""
        return f"{self.router} + {self.composition}"


CEILING = System(NON_OOD, ORACLE, MIXTURE)
"""What shares are shares of, in every setting: the task's own declared adapter, in reach."""


def systems_of(routers: Sequence[str], compositions: Sequence[str], settings: Sequence[str]) -> tuple[System, ...]:
    """Every system asked for, setting by setting, the ceiling among them even where it was not asked for.

    Args:
        routers: names of `ROUTERS`.
        compositions: names of `COMPOSITIONS`, or "own" for those that each router was published with. Controls
            and gates are run with the mixture alone: theirs is one adapter, none, or a sum of outputs by definition.
        settings: the oracle runs in non-ood only: in the others its adapter is out of reach.

    Raises:
        SettingError: a name that does not exist.
    """
    check_names("router", routers, ROUTERS)
    check_names("composition", compositions, COMPOSITIONS, (OWN,))
    check_names("setting", settings, SETTINGS)
    asked = [
        System(setting, router, composition)
        for setting in settings
        for router in routers
        if router != ORACLE
        for composition in _compositions(router, compositions)
    ]
    return tuple(dict.fromkeys([CEILING, *asked]))


def _compositions(router: str, asked: Sequence[str]) -> list[str]:
    if router in CONTROLS or is_gate(router):
        return [MIXTURE]
    return [name for one in asked for name in (published_compositions(router) if one == OWN else (one,))]


def reference_of(systems: Sequence[System], asked: str | None) -> tuple[str, str] | None:
    """Router and composition that others are compared with: `ROUTER` or `ROUTER+COMPOSITION` of the systems.

    Left out: lorauter with the mixture where that runs, else none. Raises SettingError for one that does not run.
    """
    pairs = list(dict.fromkeys((system.router, system.composition) for system in systems))
    if asked is None:
        return next((pair for pair in pairs if pair == ("lorauter", MIXTURE)), None)
    router, _, composition = (part.strip() for part in asked.partition("+"))
    for pair in pairs:
        if pair[0] == router and (pair[1] == composition or not composition):
            return pair
    raise SettingError(
        f"The reference {asked!r} is not among what is evaluated.",
        f"Choose one of: {', '.join(f'{name}+{how}' for name, how in pairs)}.",
    )


def check_names(kind: str, names: Sequence[str], there: Collection[str], others: Collection[str] = ()) -> None:
    """Raise SettingError for a name that there is not, among `there` or `others`, or where none is given."""
    for name in names:
        if name not in others and name not in there:
            raise SettingError(f"There is no {kind} {name!r}.", f"Choose from: {', '.join((*there, *others))}.")
    if not names:
        raise SettingError(f"No {kind} is named.", f"Choose from: {', '.join((*there, *others))}.")
