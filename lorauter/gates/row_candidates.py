"""Row candidates: which candidates each row of a batch has, and what their A make of its tokens.

Knows: which rows have the same ones; what a gate looks up for each of them, once a batch. Does not know: where adapters
lie (lorauter/engine/bank), what a gate makes of them.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence

import torch

from lorauter.gates.protocol import OwnGate


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
        return self.per_row("there", lambda one: torch.arange(self.most) < len(one.adapters))
