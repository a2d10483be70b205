"""Routes that carry a gate: weights are made while the answer is (lorauter/gates), nothing is decided before.

Knows: one gate. Does not know: queries; how a gate weighs.
"""

from __future__ import annotations

from collections.abc import Sequence

from lorauter.gates.protocol import GatedRoute, NamedGate, TokenGate
from lorauter.routing.routes import Masked, Route, Routed


class TokenGateRouter:
    """The same gate for every query; the base alone where the gate has no candidates.

    Args:
        gate: Arrow's, say. Rows that share it share its work in a batch.
    """

    def __init__(self, gate: TokenGate | NamedGate) -> None:
        self.name = gate.name
        self._gate = gate

    def route(self, queries: Sequence[str], masked: Masked = None) -> list[Routed]:
        """One route a query, for `Engine.answer` and `Engine.score_options`."""
        return [GatedRoute(self._gate) if self._gate.adapters else Route(()) for _ in queries]
