"""Gated rows: the rows of a batch that one gate weighs.

Knows: which rows they are while others end; what a gate said of the block that computes. Does not know: how a gate
weighs (lorauter/gates), how outputs are summed (lorauter/engine/bank/gated_deltas, lorauter/engine/bank/own_rows).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping

import torch

from lorauter.engine.bank.gated_deltas import CandidateStack
from lorauter.gates.blocks import block_of
from lorauter.gates.protocol import TokenGate, reads_blocks


class GateRows(ABC):
    """One gate's part in a batch.

    Args:
        used: (rows of the batch,) bool, the rows that it weighs.
        modules: those that a candidate touches.
        by_block: whether it weighs once a decoder block.

    Attributes:
        rows: int64, those that it weighs; None where it weighs all.
        blocks: names of the decoder blocks that it is asked for; none where it weighs by module.
    """

    __slots__ = ("_said", "_used", "blocks", "modules", "rows")

    def __init__(self, used: torch.Tensor, modules: tuple[str, ...], by_block: bool) -> None:
        self.modules = modules
        self.blocks = tuple(dict.fromkeys(map(block_of, modules))) if by_block else ()
        self._said: torch.Tensor | None = None
        self._take(used)

    @abstractmethod
    def weigh(self, name: str, x: torch.Tensor) -> torch.Tensor:
        """What the gate says of its own rows' tokens, at a module or a block."""

    @abstractmethod
    def add_own(self, module: str, x: torch.Tensor, output: torch.Tensor, said: torch.Tensor | None) -> torch.Tensor:
        """To `output` of its own rows, weighed by what the gate said of their block, or else of the module; in place
        or anew."""

    def _take(self, used: torch.Tensor) -> None:
        self._used = used
        self.rows = None if bool(used.all()) else used.nonzero()[:, 0]

    def select(self, kept: torch.Tensor) -> None:
        """Keeps the given rows of the batch (int64 indices into the present ones; one may be named often), in place."""
        self._take(self._used[kept])

    def enter(self, block: str, x: torch.Tensor) -> None:
        """Notes what the gate says of a block that is given x (rows, tokens, d), for the block's modules."""
        own = x if self.rows is None else x.index_select(0, self.rows)
        self._said = self.weigh(block, own) if len(own) else None

    def add(self, module: str, x: torch.Tensor, output: torch.Tensor) -> torch.Tensor:
        """To `output` (rows, tokens, d_out) of a module given x (rows, tokens, d_in), in place."""
        said = self._said if self.blocks else None
        if self.rows is None:
            return self.add_own(module, x, output, said)
        if not len(self.rows):
            return output
        own, of_base = x.index_select(0, self.rows), output.index_select(0, self.rows)
        return output.index_copy_(0, self.rows, self.add_own(module, own, of_base, said))


class GatedRows(GateRows):
    """Rows with one gate and the same candidates.

    Args:
        gate: weighs its candidates.
        stacks: its candidates at each module that one of them touches.
        used: as of `GateRows`.
    """

    __slots__ = ("gate", "stacks")

    def __init__(self, gate: TokenGate, stacks: Mapping[str, CandidateStack], used: torch.Tensor) -> None:
        self.gate, self.stacks = gate, stacks
        super().__init__(used, tuple(stacks), reads_blocks(gate))

    def weigh(self, name: str, x: torch.Tensor) -> torch.Tensor:
        """As the gate."""
        return self.gate.weigh(name, x)

    def add_own(self, module: str, x: torch.Tensor, output: torch.Tensor, said: torch.Tensor | None) -> torch.Tensor:
        """By all candidates side by side."""
        weights = self.gate.weigh(module, x) if said is None else said
        return self.stacks[module].add(x, weights, output)
