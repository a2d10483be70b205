"""Deltas: what the adapters of one table add to a module's output, each row with its own.

Knows: three ways to take Σ w B'(A x), and which is the fastest for given shapes. Does not know: which row uses what
(lorauter/engine/bank/slot_weights), where the tables come from (lorauter/engine/bank/bank).

    bags    each entry reads its own rows of the two tables, by torch's `embedding_bag`: no copy, each weight read once
            an entry. For few tokens a row, as in decoding; CPU only.
    rows    each row's own columns are gathered and two `bmm` taken: for many tokens a row.
    stack   the columns of all adapters in use side by side: two products for all rows, a mask between them. For few
            adapters that many rows share.

All three are exact for any mix of slots and weights.
"""

from __future__ import annotations

import torch
from torch.nn import functional

from lorauter.engine.bank.slot_weights import Bags, PerRow, SlotWeights
from lorauter.engine.bank.table import AdapterTable


def add_deltas(table: AdapterTable, weighed: SlotWeights, x: torch.Tensor, output: torch.Tensor) -> torch.Tensor:
    """`output` (rows, tokens, d_out) plus, for each entry, w B'(A x) with x (rows, tokens, d_in). May work in place."""
    if not len(weighed.rows):
        return output
    way = fastest(weighed, x.shape[1], table, x.device.type)
    if way == "bags":
        return _add_bags(table, weighed.bags(table.d_in, table.width, x.shape[1]), x, output)
    return (_add_rows if way == "rows" else _add_stack)(table, weighed, x, output)


def fastest(weighed: SlotWeights, tokens: int, table: AdapterTable, device: str) -> str:
    """The way of the least cost in ns, fitted to one CPU core in bf16; a pure function of shapes.

    Measured: 32 rows of 1 and of 40 tokens, widths 4 to 64, modules of 576 × 192 to 1536 × 576, 1 to 64 adapters.
    """
    both = table.width * (table.d_in + table.d_out)
    own = weighed.users * weighed.most * both
    costs = {
        "rows": 60_000 + own * (0.2 + 0.005 * tokens),
        "stack": 40_000 + weighed.distinct * both * (0.36 + 0.0044 * tokens * weighed.batch),
    }
    if device == "cpu":
        costs["bags"] = 15_000 + len(weighed.rows) * tokens * (0.8 * table.d_in + 0.057 * both)
    return min(costs, key=costs.__getitem__)


def _add_bags(table: AdapterTable, bags: Bags, x: torch.Tensor, output: torch.Tensor) -> torch.Tensor:
    lines = x.reshape(-1, table.d_in)
    read = (lines if bags.sources is None else lines.index_select(0, bags.sources)).view(-1)
    hidden = functional.embedding_bag(bags.a_rows, table.a, bags.a_starts, mode="sum", per_sample_weights=read)
    if bags.weights is not None:
        hidden *= bags.weights
    added = functional.embedding_bag(
        bags.b_rows, table.b, bags.b_starts, mode="sum", per_sample_weights=hidden.view(-1)
    )
    return output.add_(added.view(output.shape))


def _add_rows(table: AdapterTable, weighed: SlotWeights, x: torch.Tensor, output: torch.Tensor) -> torch.Tensor:
    own = weighed.per_row(table.d_in, table.width)
    if own.users is None:
        return _add_own(table, own, x, output)
    added = _add_own(table, own, x.index_select(0, own.users), output.index_select(0, own.users))
    return output.index_copy_(0, own.users, added)


def _add_own(table: AdapterTable, own: PerRow, x: torch.Tensor, output: torch.Tensor) -> torch.Tensor:
    rows = len(x)
    hidden = torch.bmm(x, _a(table, own.a_rows, own.slots).view(rows, table.d_in, -1))
    if own.weights is not None:
        hidden *= own.weights
    return output.baddbmm_(hidden, _b(table, own.slots).view(rows, -1, table.d_out))


def _add_stack(table: AdapterTable, weighed: SlotWeights, x: torch.Tensor, output: torch.Tensor) -> torch.Tensor:
    shared = weighed.stacked(table.d_in, table.width)
    hidden = x @ _a(table, shared.a_rows, shared.slots).view(table.d_in, -1)
    if shared.mask is not None:
        hidden *= shared.mask
    b = _b(table, shared.slots).view(-1, table.d_out)
    output.view(-1, table.d_out).addmm_(hidden.view(-1, len(b)), b)
    return output


def _a(table: AdapterTable, rows: torch.Tensor | None, slots: torch.Tensor) -> torch.Tensor:
    """Aᵀ of some slots: by rows where they lie beside one another, else (slots, d_in, width)."""
    if rows is None:
        return table.a.view(-1, table.d_in, table.width).index_select(0, slots)
    return table.a.index_select(0, rows)


def _b(table: AdapterTable, slots: torch.Tensor) -> torch.Tensor:
    """B'ᵀ of some slots: (slots, width, d_out)."""
    return table.b.view(-1, table.width, table.d_out).index_select(0, slots)
