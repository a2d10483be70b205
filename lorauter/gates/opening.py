"""Named gates as gates that weigh. Knows: how many are kept. Does not know: which there are, engines."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

from lorauter.gates.named import GATES
from lorauter.gates.protocol import GateParts, NamedGate, TokenGate
from lorauter.gates.singular_rows import ReadAdapter, singular_rows_of

OpenGate = Callable[[NamedGate], TokenGate]
_GATES_KEPT = 4


def gates_of(read: ReadAdapter, adapters_kept: int) -> OpenGate:
    """Makes gates of weights, and keeps the last few; gates that share adapters take each apart once.

    Args:
        read: gives an adapter's weights.
        adapters_kept: how many adapters' singular rows are kept.

    Raises:
        UnsupportedAdapter: by the function; what the gate refuses.
        PluginError: by the function; the package that brings the gate does not load.
    """
    singular = singular_rows_of(read, adapters_kept)

    @lru_cache(maxsize=_GATES_KEPT)
    def opened(gate: NamedGate) -> TokenGate:
        return GATES[gate.name](GateParts(gate.adapters, read, singular))

    return opened
