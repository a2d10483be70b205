"""Named gates as gates that weigh. Knows: which class has which name; how many are kept. Does not know: engines."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

from lorauter.gates.arrow import ArrowGate
from lorauter.gates.lag import LagGate
from lorauter.gates.named import NamedGate
from lorauter.gates.protocol import TokenGate
from lorauter.gates.seqr import SeqrGate
from lorauter.gates.singular_rows import ReadAdapter, singular_rows_of
from lorauter.gates.spectr import SpectrGate

OpenGate = Callable[[NamedGate], TokenGate]
_GATES_KEPT = 4


def gates_of(read: ReadAdapter, adapters_kept: int) -> OpenGate:
    """Makes gates of weights, and keeps the last few; gates that share adapters take each apart once.

    SEQR's is not calibrated: its texts would have to travel with its name. See `lorauter.train.gate_calibration`.

    Args:
        read: gives an adapter's weights. adapters_kept: how many adapters' singular rows are kept.

    Raises:
        UnsupportedAdapter: by the function; what the gate refuses.
    """
    singular = singular_rows_of(read, adapters_kept)

    @lru_cache(maxsize=_GATES_KEPT)
    def opened(gate: NamedGate) -> TokenGate:
        return make[gate.name](gate)

    make: dict[str, OpenGate] = {
        "arrow": lambda gate: ArrowGate(gate.adapters, singular),
        "spectr": lambda gate: SpectrGate(gate.adapters, singular),
        "lag": lambda gate: LagGate(gate.adapters, singular),
        "seqr": lambda gate: SeqrGate(gate.adapters, read),
    }
    return opened
