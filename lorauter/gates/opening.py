"""Named gates as gates that weigh. Knows: how many are kept. Does not know: which there are, engines."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from functools import lru_cache, partial

from lorauter.gates.named import GATES
from lorauter.gates.protocol import GateParts, NamedGate, TokenGate
from lorauter.gates.row_gates import OwnGate, RowGate
from lorauter.gates.singular_rows import ReadAdapter, singular_rows_of
from lorauter.trained.state import ReadState, no_state_here

OpenGate = Callable[[NamedGate], TokenGate | OwnGate]
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
    shared: OrderedDict[tuple[str, str], RowGate] = OrderedDict()

    def once(gate: NamedGate, make: Callable[[], RowGate]) -> RowGate:
        made = shared.pop((gate.name, gate.state), None) or make()
        shared[gate.name, gate.state] = made  # last in the order: least recently used goes first
        while len(shared) > _GATES_KEPT:
            shared.popitem(last=False)
        return made

    def made(gate: NamedGate) -> TokenGate | OwnGate:
        state = read_state(gate.state) if gate.state else None
        parts = GateParts(gate.adapters, read, singular, state, gate.part, partial(once, gate))
        return GATES[gate.name](parts)

    kept = lru_cache(maxsize=_GATES_KEPT)(made)

    def opened(gate: NamedGate) -> TokenGate | OwnGate:
        """A trained gate has candidates of its own in every row, and costs nothing to make once its state is there."""
        return made(gate) if gate.state else kept(gate)

    return opened
