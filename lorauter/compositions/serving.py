"""How a route is served: the weighted set and the composition that one output of the ledger is made with.

Knows: which of a route and of what was asked decides. Does not know: routers, engines, shards.
"""

from __future__ import annotations

from catalog.errors import SettingError
from lorauter.gates.named import spelled
from lorauter.gates.protocol import GatedRoute, NamedGate
from lorauter.routing.routes import Mixture, Routed


def served(route: Routed, composition: str) -> tuple[Mixture, str]:
    """Mixture and composition of a route's `Work`.

    A gate's candidates stand in the mixture, at weight 1 each, and its spelling in the place of a composition.

    Args:
        route: of a query.
        composition: what was asked for, spelled.

    Raises:
        SettingError: a gate that has no name, or one that is to be composed.
    """
    if not isinstance(route, GatedRoute):
        return route.mixture, composition
    if not isinstance(route.gate, NamedGate):
        raise SettingError(f"The gate {route.gate.name!r} is an object, which no plan can hold.", "Route by NamedGate.")
    if composition:
        raise SettingError(
            f"The router {route.gate.name!r} weighs adapters token by token and cannot be composed: it sums outputs by "
            "itself.",
            "Leave --compose at mixture, or choose another router.",
        )
    return tuple((key, 1.0) for key in route.gate.adapters), spelled(route.gate)
