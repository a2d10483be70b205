"""Slot weights: what each row of a batch weighs of each slot of an adapter table, a sparse matrix of rows × slots.

Knows: indices, and the forms that the ways to take a delta want them in. Does not know: adapters, tables' contents, how
a delta is taken (lorauter/engine/bank/deltas).

Modules whose adapters lie in the same slots share one `SlotWeights`, so that a form is made once for all of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar, cast

import torch

Form = TypeVar("Form")


@dataclass(frozen=True, slots=True, eq=False)
class PerRow:
    """Each user's own slots side by side; k, the most slots that one uses, filled up with any slot.

    Args:
        users: (users,) int64, the rows that use any slot; None where all do.
        a_rows: (users × d_in × k,) int32, rows of the table's `a` that make (users, d_in, k × width); None where k is
            1 and they are just those of `slots`.
        slots: (users × k,) int64.
        weights: (users, 1, k × width), 0 where filled up; None where all are 1.
    """

    users: torch.Tensor | None
    a_rows: torch.Tensor | None
    slots: torch.Tensor
    weights: torch.Tensor | None


@dataclass(frozen=True, slots=True, eq=False)
class Stacked:
    """All rows against all slots in use, side by side.

    Args:
        a_rows: (d_in × D,) int32, rows of the table's `a` that make (d_in, D × width); None where D is 1.
        slots: (D,) int64, distinct.
        mask: (rows, 1, D × width): a row's weight of each column, 0 where it does not use it; None where all are 1.
    """

    a_rows: torch.Tensor | None
    slots: torch.Tensor
    mask: torch.Tensor | None


@dataclass(frozen=True, slots=True, eq=False)
class Bags:
    """The entries as bags of table rows, for `embedding_bag`; U' = entries × tokens, ordered by row, then token.

    Args:
        sources: (U',) int64: the line of x (rows × tokens, d_in) that an entry reads; None where entry n reads line n.
        a_rows: int32, rows of the table's `a`, d_in to an entry.
        a_starts: int32, where each entry's begin.
        weights: (U', 1); None where all are 1.
        b_rows: int32, rows of the table's `b`, width to an entry.
        b_starts: int32, where each line of the output begins.
    """

    sources: torch.Tensor | None
    a_rows: torch.Tensor
    a_starts: torch.Tensor
    weights: torch.Tensor | None
    b_rows: torch.Tensor
    b_starts: torch.Tensor


class SlotWeights:
    """The entries of the matrix that are not 0, by row.

    Args:
        rows: (U,) int64, ascending: the row of each entry.
        slots: (U,) int64.
        weights: (U,), in the engine's dtype.
        batch: rows of the batch.
    """

    __slots__ = ("_forms", "batch", "rows", "slots", "weights")

    def __init__(self, rows: torch.Tensor, slots: torch.Tensor, weights: torch.Tensor, batch: int) -> None:
        self.rows, self.slots, self.weights, self.batch = rows, slots, weights, batch
        self._forms: dict[tuple[str | int, ...], object] = {}

    def select(self, kept: torch.Tensor) -> None:
        """Keeps the given rows (int64 indices into the present ones; one may be named often), in place."""
        rows, entries = entries_kept(self.rows, kept, self.batch)
        self.__init__(rows, self.slots[entries], self.weights[entries], len(kept))  # type: ignore[misc]

    @property
    def distinct(self) -> int:
        """How many slots are in use."""
        return self._form(("distinct",), lambda: len(torch.unique(self.slots)))

    @property
    def users(self) -> int:
        """How many rows use any slot."""
        return self._form(("users",), lambda: len(torch.unique(self.rows)))

    @property
    def most(self) -> int:
        """The most slots that one row uses."""
        return self._form(("most",), lambda: int(torch.bincount(self.rows).max()) if len(self.rows) else 0)

    def per_row(self, d_in: int, width: int) -> PerRow:
        """See `PerRow`."""
        return self._form(("per row", d_in, width), lambda: self._per_row(d_in, width))

    def stacked(self, d_in: int, width: int) -> Stacked:
        """See `Stacked`."""
        return self._form(("stacked", d_in, width), lambda: self._stacked(d_in, width))

    def bags(self, d_in: int, width: int, tokens: int) -> Bags:
        """See `Bags`."""
        return self._form(("bags", d_in, width, tokens), lambda: self._bags(d_in, width, tokens))

    def _form(self, name: tuple[str | int, ...], make: Callable[[], Form]) -> Form:
        if name not in self._forms:
            self._forms[name] = make()
        return cast("Form", self._forms[name])

    def _per_row(self, d_in: int, width: int) -> PerRow:
        users, place, counts = torch.unique(self.rows, return_inverse=True, return_counts=True)
        starts = counts.cumsum(0) - counts
        within = torch.arange(len(self.rows), device=self.rows.device) - starts[place]
        slots = self.slots[starts][:, None].repeat(1, self.most)
        slots[place, within] = self.slots
        weights = self.weights.new_zeros(slots.shape)
        weights[place, within] = self.weights
        columns = weights.repeat_interleave(width, dim=1)[:, None]
        everyone = None if len(users) == self.batch else users
        return PerRow(everyone, _side_by_side(slots, d_in), slots.view(-1), _unless_ones(columns))

    def _stacked(self, d_in: int, width: int) -> Stacked:
        slots, column = torch.unique(self.slots, return_inverse=True)
        mask = self.weights.new_zeros(self.batch, len(slots))
        mask[self.rows, column] = self.weights
        columns = mask.repeat_interleave(width, dim=1)[:, None]
        return Stacked(_side_by_side(slots[None], d_in), slots, _unless_ones(columns))

    def _bags(self, d_in: int, width: int, tokens: int) -> Bags:
        token = torch.arange(tokens, device=self.rows.device)
        lines, order = (self.rows[:, None] * tokens + token).view(-1).sort(stable=True)
        slots = self.slots.repeat_interleave(tokens)[order]
        weights = self.weights.repeat_interleave(tokens)[order]
        one_each = len(lines) == self.batch * tokens and self.most == 1
        counts = torch.bincount(lines, minlength=self.batch * tokens)
        return Bags(
            sources=None if one_each else lines,
            a_rows=_blocks(slots, d_in),
            a_starts=torch.arange(len(slots), device=slots.device, dtype=torch.int32) * d_in,
            weights=_unless_ones(weights[:, None]),
            b_rows=_blocks(slots, width),
            b_starts=((counts.cumsum(0) - counts) * width).int(),
        )


def entries_kept(rows: torch.Tensor, kept: torch.Tensor, batch: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Where rows of a batch are kept: the new row of each entry that stays, and its place among the present entries.

    Args:
        rows: the row of each entry, ascending.
        kept: int64 indices of rows; one may be named often.
        batch: rows of the batch.
    """
    counts = torch.bincount(rows, minlength=batch)
    starts = counts.cumsum(0) - counts
    taken = counts[kept]
    ends = taken.cumsum(0)
    kept_rows = torch.arange(len(kept), device=kept.device).repeat_interleave(taken)
    return kept_rows, (starts[kept] - ends + taken)[kept_rows] + torch.arange(len(kept_rows), device=kept.device)


def _side_by_side(slots: torch.Tensor, d_in: int) -> torch.Tensor | None:
    """Row numbers, int32, in the order that lays Aᵀ of each line's slots (n, k) beside one another; None for k = 1."""
    if slots.shape[1] == 1:
        return None
    line = torch.arange(d_in, device=slots.device)
    return (slots[:, None, :] * d_in + line[None, :, None]).int().view(-1)


def _blocks(slots: torch.Tensor, size: int) -> torch.Tensor:
    """(len(slots) × size,) int32: the `size` row numbers of each slot."""
    return (slots[:, None] * size + torch.arange(size, device=slots.device)).int().view(-1)


def _unless_ones(weights: torch.Tensor) -> torch.Tensor | None:
    return None if bool((weights == 1).all()) else weights
