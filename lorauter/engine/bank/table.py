"""Adapter table: the adapters held at one module, side by side in two matrices.

Knows: slots, padding, growth. Does not know: keys, modules' names, what a batch does with them.

A slot has room for `width` columns. Aᵀ and B'ᵀ lie as rows of one matrix each, so that a batch names what it needs by
row numbers and nothing is copied for it.
"""

from __future__ import annotations

import torch

FIRST_SLOTS = 4
LEAST_WIDTH = 4


def width_of(rank: int) -> int:
    """The width of the table that an adapter of a rank lies in: the next power of two, at least 4."""
    return max(LEAST_WIDTH, 1 << (rank - 1).bit_length())


class AdapterTable:
    """Slots for adapters of one width at one module.

    Args:
        d_in: of the module.
        d_out: of the module.
        width: columns of a slot.
        most: bound on slots.

    Attributes:
        a: (slots × d_in, width): slot s has Aᵀ in the rows from s × d_in on; unused columns are 0.
        b: (slots × width, d_out): slot s has B'ᵀ in the rows from s × width on; unused rows are 0.
    """

    def __init__(self, d_in: int, d_out: int, width: int, most: int, device: str, dtype: torch.dtype) -> None:
        self.d_in, self.d_out, self.width = d_in, d_out, width
        self._most = most
        slots = min(FIRST_SLOTS, most)
        self.a = torch.zeros(slots * d_in, width, device=device, dtype=dtype)
        self.b = torch.zeros(slots * width, d_out, device=device, dtype=dtype)
        self._free = list(range(slots))[::-1]
        self._taken = 0

    @property
    def empty(self) -> bool:
        """Whether no slot is taken."""
        return self._taken == 0

    def put(self, a: torch.Tensor, b: torch.Tensor) -> int:
        """Takes a slot for an adapter, `a` (r, d_in) and `b` (r, d_out), r at most the width; gives its number."""
        if not self._free:
            self._grow()
        slot, rank = self._free.pop(), len(a)
        self._taken += 1
        rows = self.a[slot * self.d_in : (slot + 1) * self.d_in]
        rows[:, :rank] = a.T
        rows[:, rank:] = 0
        columns = self.b[slot * self.width : (slot + 1) * self.width]
        columns[:rank] = b
        columns[rank:] = 0
        return slot

    def release(self, slot: int) -> None:
        """Gives a slot back."""
        self._free.append(slot)
        self._taken -= 1

    def _grow(self) -> None:
        """Twice the slots, up to the bound."""
        slots = min(self._most, 2 * self._taken)
        self.a = _extended(self.a, slots * self.d_in)
        self.b = _extended(self.b, slots * self.width)
        self._free = list(range(self._taken, slots))[::-1]


def _extended(matrix: torch.Tensor, rows: int) -> torch.Tensor:
    longer = matrix.new_zeros(rows, matrix.shape[1])
    longer[: len(matrix)] = matrix
    return longer
