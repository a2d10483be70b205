"""How a route is served: the weighted set and the composition that one output of the ledger is made with.

Knows: which of a route and of what was asked decides. Does not know: routers, engines, shards.
"""

from __future__ import annotations

from collections.abc import Sequence

from catalog.errors import SettingError
from lorauter.gates.named import GATES, NamedGate, spelled
from lorauter.gates.protocol import GatedRoute
from lorauter.routing.routes import Mixture, Routed


def served(route: Routed, composition: str) -> tuple[Mixture, str]:
    """Mixture and composition of a route's `Work`.

    A gate's candidates stand in the mixture, at weight 1 each, and its spelling in the place of a composition.

    Args:
        composition: what was asked for, spelled.

    Raises:
        SettingError: a gate that has no name, or one that is to be composed.
    """
    if not isinstance(route, GatedRoute):
        return route.mixture, composition
    if not isinstance(route.gate, NamedGate):
        raise SettingError(f"The gate {route.gate.name!r} is an object, which no plan can hold.", "Route by NamedGate.")
    if composition:
        refuse_gates([route.gate.name], "composed: it sums outputs by itself", "Leave --compose at mixture")
    return tuple((key, 1.0) for key in route.gate.adapters), spelled(route.gate)


def refuse_gates(routers: Sequence[str], doing: str, step: str) -> None:
    """Raise SettingError for a router whose routes are gates: it cannot be `doing`."""
    for name in routers:
        if name in GATES:
            raise SettingError(
                f"The router {name!r} weighs adapters token by token and cannot be {doing}.",
                f"{step}, or choose another router.",
            )
