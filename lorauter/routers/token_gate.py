"""Routes that carry a gate: weights are made while the answer is (lorauter/gates), nothing is decided before.

Knows: one gate. Does not know: queries; how a gate weighs.
"""

from __future__ import annotations

from collections.abc import Sequence

from lorauter.gating import GatedRoute, TokenGate
from lorauter.routing import Masked


class TokenGateRouter:
    """The same gate for every query.

    Args:
        gate: Arrow's, say. Rows that share it share its work in a batch.
    """

    def __init__(self, gate: TokenGate) -> None:
        self.name = gate.name
        self._gate = gate

    def route(self, queries: Sequence[str], masked: Masked = None) -> list[GatedRoute]:
        """One route a query, for `Engine.answer` and `Engine.score_options`."""
        return [GatedRoute(self._gate) for _ in queries]
