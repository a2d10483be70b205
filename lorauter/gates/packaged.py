"""A package's gate with its weights checked: a fault names the package, and no answer is made of it.

Knows: what weights must be whoever gives them. Does not know: packages' metadata (catalog/plugins), engines. Loads no
torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from catalog.plugins import Origin
from lorauter.gates.protocol import GateParts, MakeGate, TokenGate, reads_blocks
from lorauter.gates.row_gates import OwnGate

if TYPE_CHECKING:
    import torch


def guarded(make: MakeGate, origin: Origin) -> MakeGate:
    """Makes a package's gate, checked."""

    def made(parts: GateParts) -> TokenGate:
        with origin.blamed():
            gate = make(parts)
            if isinstance(gate, OwnGate):
                raise origin.fault("gives candidates a row, which no package's gate can have yet")
            return _Guarded(gate, origin)

    return made


class _Guarded:
    """A gate that gives a finite weight to each of its candidates, for every token."""

    def __init__(self, gate: TokenGate, origin: Origin) -> None:
        self._gate, self._origin = gate, origin
        self.name, self.adapters, self.reads_blocks = gate.name, gate.adapters, reads_blocks(gate)

    def weigh(self, module: str, x: torch.Tensor) -> torch.Tensor:
        """As the package's, checked."""
        wanted = (*x.shape[:2], len(self.adapters))
        with self._origin.blamed():
            weights = self._gate.weigh(module, x)
            shape, finite = tuple(weights.shape), bool(weights.isfinite().all())
        if shape != wanted:
            raise self._origin.fault(f"gives weights of shape {shape}, not {wanted}")
        if not finite:
            raise self._origin.fault(f"gives NaN or infinity as a weight at {module}")
        return weights
