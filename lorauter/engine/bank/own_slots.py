"""Own slots: what each row of a batch has of one adapter table, weighed token by token.

Knows: two ways to take B'(w ∘ A x) for a row's own slots. Does not know: gates, how a weight comes about, other tables.

    bags    one token a row, on a CPU: each entry reads its own rows of the two tables, nothing is copied.
    rows    each row's own columns are gathered and two `bmm` taken.

The same two ways as lorauter/engine/bank/deltas has them, but for the stop between A and B, where the gate says what
each token weighs.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch.nn import functional

from lorauter.engine.bank.slot_weights import SlotWeights, entries_kept
from lorauter.engine.bank.table import AdapterTable


class OwnSlots:
    """Who uses which slot, as which of the row's own candidates.

    Args:
        slots: rows and slots of the entries; its weights are 1.
        columns: (U,) int64, each entry's place among its row's candidates, ascending within a row.
        most: k, the most candidates that a row of the batch has.
    """

    def __init__(self, slots: SlotWeights, columns: torch.Tensor, most: int) -> None:
        self.slots, self.columns, self.most = slots, columns, most
        self._dense: torch.Tensor | None = None

    def select(self, kept: torch.Tensor) -> None:
        """Keeps the given rows (int64 indices into the present ones; one may be named often), in place."""
        entries = entries_kept(self.slots.rows, kept, self.slots.batch)[1]
        self.columns, self._dense = self.columns[entries], None
        self.slots.select(kept)

    @property
    def whole(self) -> bool:
        """Whether every row has k entries, so that they lie as its candidates do."""
        return len(self.columns) == self.slots.batch * self.most

    @property
    def dense_columns(self) -> torch.Tensor:
        """(users, n) int64, n the most entries of one row: `columns` in the order of `SlotWeights.per_row`; k where
        filled up."""
        if self._dense is None:
            users, place, counts = torch.unique(self.slots.rows, return_inverse=True, return_counts=True)
            within = torch.arange(len(place), device=place.device) - (counts.cumsum(0) - counts)[place]
            self._dense = self.columns.new_full((len(users), self.slots.most), self.most)
            self._dense[place, within] = self.columns
        return self._dense


class ThroughTable(ABC):
    """A x of the entries of one table, on its way to the output."""

    @abstractmethod
    def spread(self, hidden: torch.Tensor | None, width: int) -> torch.Tensor:
        """A x as (rows, tokens, k, width): written into `hidden`, or on its own where that is None."""

    @abstractmethod
    def add(self, weights: torch.Tensor, output: torch.Tensor) -> torch.Tensor:
        """`output` plus B'(w ∘ A x), weights (rows, tokens, k) in x's dtype; may work in place."""


def through(table: AdapterTable, own: OwnSlots, x: torch.Tensor) -> ThroughTable:
    """x (rows, tokens, d_in) through the A of each row's own slots."""
    if x.shape[1] == 1 and x.device.type == "cpu":
        return _Bags(table, own, x)
    return _Rows(table, own, x)


class _Bags(ThroughTable):
    def __init__(self, table: AdapterTable, own: OwnSlots, x: torch.Tensor) -> None:
        self._table, self._own = table, own
        self._bags = own.slots.bags(table.d_in, table.width, 1)
        lines = x.reshape(-1, table.d_in)
        read = lines if self._bags.sources is None else lines.index_select(0, self._bags.sources)
        self._product = functional.embedding_bag(
            self._bags.a_rows, table.a, self._bags.a_starts, mode="sum", per_sample_weights=read.view(-1)
        )

    def spread(self, hidden: torch.Tensor | None, width: int) -> torch.Tensor:
        own = self._own
        if hidden is None:
            return self._product.view(own.slots.batch, 1, own.most, width)
        hidden[own.slots.rows, 0, own.columns, : self._table.width] = self._product
        return hidden

    def add(self, weights: torch.Tensor, output: torch.Tensor) -> torch.Tensor:
        own = self._own
        flat = weights.reshape(-1, own.most)
        taken = flat.view(-1) if own.whole else flat[own.slots.rows, own.columns]
        added = functional.embedding_bag(
            self._bags.b_rows,
            self._table.b,
            self._bags.b_starts,
            mode="sum",
            per_sample_weights=(self._product * taken[:, None]).view(-1),
        )
        return output.add_(added.view(output.shape))


class _Rows(ThroughTable):
    def __init__(self, table: AdapterTable, own: OwnSlots, x: torch.Tensor) -> None:
        self._table, self._own = table, own
        self._form = own.slots.per_row(table.d_in, table.width)
        users = x if self._form.users is None else x.index_select(0, self._form.users)
        flat = self._form.a_rows
        a = (
            table.a.view(-1, table.d_in, table.width).index_select(0, self._form.slots)
            if flat is None
            else table.a.index_select(0, flat)
        )
        product = torch.bmm(users, a.view(len(users), table.d_in, -1))
        self._product = product.view(*product.shape[:2], -1, table.width)

    def spread(self, hidden: torch.Tensor | None, width: int) -> torch.Tensor:
        if hidden is None:
            return self._product
        rows, places, columns = self._entries()
        hidden[rows, :, columns, : self._table.width] = self._product.transpose(1, 2)[places]
        return hidden

    def add(self, weights: torch.Tensor, output: torch.Tensor) -> torch.Tensor:
        table, users = self._table, self._form.users
        product = (self._product * self._taken(weights)[..., None]).flatten(2)
        b = table.b.view(-1, table.width, table.d_out).index_select(0, self._form.slots)
        b = b.view(len(product), -1, table.d_out)
        if users is None:
            return output.baddbmm_(product, b)
        return output.index_copy_(0, users, output.index_select(0, users).baddbmm_(product, b))

    def _taken(self, weights: torch.Tensor) -> torch.Tensor:
        """The weights (users, tokens, n) of the entries, 0 where filled up."""
        if self._own.whole:
            return weights
        columns = self._own.dense_columns[:, None].expand(-1, weights.shape[1], -1)
        own = weights if self._form.users is None else weights.index_select(0, self._form.users)
        return functional.pad(own, (0, 1)).gather(2, columns)

    def _entries(self) -> tuple[torch.Tensor, tuple[torch.Tensor, torch.Tensor], torch.Tensor]:
        """Of the entries: rows of the batch, where they are in the product, columns among the row's candidates."""
        columns = self._own.dense_columns
        users, within = (columns < self._own.most).nonzero(as_tuple=True)
        rows = users if self._form.users is None else self._form.users[users]
        return rows, (users, within), columns[users, within]
