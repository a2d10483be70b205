"""Gated rows: the rows of a batch that one gate weighs.

Knows: which rows they are while others end. Does not know: how a gate weighs (lorauter/gates), how outputs are summed
(lorauter/engine/bank/gated_deltas).
"""

from __future__ import annotations

from collections.abc import Mapping

import torch

from lorauter.engine.bank.gated_deltas import CandidateStack
from lorauter.gates.protocol import TokenGate


class GatedRows:
    """One gate's part in a batch.

    Args:
        gate: weighs its candidates.
        stacks: its candidates at each module that one of them touches.
        used: (rows of the batch,) bool, the rows that it weighs.
    """

    __slots__ = ("_used", "gate", "rows", "stacks")

    def __init__(self, gate: TokenGate, stacks: Mapping[str, CandidateStack], used: torch.Tensor) -> None:
        self.gate, self.stacks, self._used = gate, stacks, used
        self.rows = None if bool(used.all()) else used.nonzero()[:, 0]

    def select(self, kept: torch.Tensor) -> None:
        """Keeps the given rows of the batch (int64 indices into the present ones; one may be named often), in place."""
        self.__init__(self.gate, self.stacks, self._used[kept])  # type: ignore[misc]

    def add(self, module: str, x: torch.Tensor, output: torch.Tensor) -> torch.Tensor:
        """To `output` (rows, tokens, d_out) of a module given x (rows, tokens, d_in), in place."""
        if self.rows is None:
            return self.stacks[module].add(x, self.gate.weigh(module, x), output)
        if not len(self.rows):
            return output
        own, of_base = x.index_select(0, self.rows), output.index_select(0, self.rows)
        return output.index_copy_(0, self.rows, self.stacks[module].add(own, self.gate.weigh(module, own), of_base))
