"""How a route is served: the weighted set and the composition that one output of the ledger is made with.

Knows: which of a route and of what was asked decides. Does not know: routers, engines, shards.
"""

from __future__ import annotations

from lorauter.routing import Mixture, Routed


def served(route: Routed, composition: str) -> tuple[Mixture, str]:
    """Mixture and composition of a route's `Work`. `composition`: what was asked for, spelled."""
    return route.mixture, composition
