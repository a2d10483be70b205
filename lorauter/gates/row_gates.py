"""Gates whose rows have candidates of their own: the gate, a row's share of it, and what it is told of a batch's rows.

Knows: which rows have the same candidates; what a gate looks up for each of them, once a batch. Does not know: where
adapters lie (lorauter/engine/bank), what a gate makes of them. Loads no torch until a batch computes.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    import torch


@runtime_checkable
class RowGate(Protocol):
    """Weighs the candidates that each row brings (`OwnGate`). Compared by identity: rows share its work."""

    @property
    def name(self) -> str:
        """What people call it."""

    def weigh_rows(self, module: str, x: torch.Tensor, own: RowCandidates) -> torch.Tensor:
        """Weights of each row's own candidates for every token, from that token alone.

        Args:
            module: dotted name of a module of the base that at least one candidate of the batch touches.
            x: its input, (rows, tokens, d_in), in the engine's dtype, on its device.
            own: the rows' candidates, and what their A make of x.

        Returns:
            (rows, tokens, k), any float dtype, on x's device; 0 where `own.there` is false.
        """


@dataclass(frozen=True, slots=True)
class OwnGate:
    """A row's gate where candidates are its own.

    Args:
        gate: shared by all rows that have it.
        adapters: keys of the row's candidates, each once; all of one row are computed.
        part: which part of what the gate has learned is the row's, where it learned several things.
    """

    gate: RowGate
    adapters: tuple[str, ...]
    part: str = ""

    @property
    def name(self) -> str:
        """What people call it."""
        return self.gate.name


def _nothing() -> torch.Tensor:
    raise NotImplementedError("what A makes of x is there while a module computes")


class RowCandidates:
    """The rows of one `RowGate` in a batch; k is the most candidates that one of them has.

    Args:
        distinct: the rows' gates, each once.
        numbers: (rows,) int64, each row's place among them.

    Attributes:
        hidden: a function to A_a x of each row's candidates at the module that computes, (rows, tokens, k, width), in
            x's dtype; 0 where a candidate does not touch the module, and in columns beyond its rank. Made when asked
            for: it is there anyway, the engine's products go through it. Not for gates that read blocks.
    """

    def __init__(self, distinct: Sequence[OwnGate], numbers: torch.Tensor) -> None:
        self.distinct, self.numbers = tuple(distinct), numbers
        self.most = max(len(one.adapters) for one in self.distinct)
        self.hidden: Callable[[], torch.Tensor] = _nothing
        self._made: dict[Hashable, torch.Tensor] = {}
        self._of_rows: dict[Hashable, torch.Tensor] = {}

    def select(self, kept: torch.Tensor) -> None:
        """Keeps the given rows (int64 indices into the present ones; one may be named often), in place."""
        self.numbers = self.numbers[kept]
        self._of_rows = {}

    def per_row(self, name: Hashable, make: Callable[[OwnGate], torch.Tensor]) -> torch.Tensor:
        """What `make` gives for each row's gate, (rows, …): made once a batch under that name, of one shape for all."""
        import torch

        if name not in self._of_rows:
            if name not in self._made:
                made = [make(one) for one in self.distinct]
                self._made[name] = torch.stack(made).to(self.numbers.device)
            one_for_all = len(self.distinct) == 1
            self._of_rows[name] = (
                self._made[name].expand(len(self.numbers), *self._made[name].shape[1:])
                if one_for_all
                else self._made[name].index_select(0, self.numbers)
            )
        return self._of_rows[name]

    @property
    def there(self) -> torch.Tensor:
        """(rows, k) bool: false beyond a row's own candidates."""
        import torch

        return self.per_row("there", lambda one: torch.arange(self.most) < len(one.adapters))
