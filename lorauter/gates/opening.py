"""Named gates as gates that weigh. Knows: how many are kept. Does not know: which there are, engines."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

from lorauter.gates.named import GATES
from lorauter.gates.protocol import GateParts, NamedGate, TokenGate
from lorauter.gates.singular_rows import ReadAdapter, singular_rows_of
from lorauter.trained.state import ReadState, no_state_here

OpenGate = Callable[[NamedGate], TokenGate]
_GATES_KEPT = 4


def gates_of(read: ReadAdapter, adapters_kept: int, read_state: ReadState = no_state_here) -> OpenGate:
    """Makes gates of weights, and keeps the last few; gates that share adapters take each apart once.

    Args:
        read: gives an adapter's weights.
        adapters_kept: how many adapters' singular rows are kept.
        read_state: gives the trained states that gates are named with.

    Raises:
        SettingError: by the function; a gate's trained state is not on this machine.
        UnsupportedAdapter: by the function; what the gate refuses.
        PluginError: by the function; the package that brings the gate does not load.
    """
    singular = singular_rows_of(read, adapters_kept)

    @lru_cache(maxsize=_GATES_KEPT)
    def opened(gate: NamedGate) -> TokenGate:
        state = read_state(gate.state) if gate.state else None
        return GATES[gate.name](GateParts(gate.adapters, read, singular, state))

    return opened
