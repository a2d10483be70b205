"""Gated products: what a gate's candidates add to a module's output, weighed token by token.

Knows: the columns of all candidates side by side, one product into them and one out. Does not know: gates, keys, why a
token weighs as it does (lorauter/gates).

A token may use any candidate, so all are computed for all tokens: the cost is Σr × (d_in + d_out) a token, whatever a
gate picks. Candidates lie side by side in a copy of their own, which stays as long as they are held.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from lorauter.engine.bank.table import AdapterTable


@dataclass(frozen=True, slots=True, eq=False)
class CandidateStack:
    """All candidates at one module; R is the sum of the widths of their slots.

    Args:
        a: (d_in, R), Aᵀ.
        b: (R, d_out), B'ᵀ.
        owners: (R,) int64, the candidate that a column belongs to.
    """

    a: torch.Tensor
    b: torch.Tensor
    owners: torch.Tensor

    def add(self, x: torch.Tensor, weights: torch.Tensor, output: torch.Tensor) -> torch.Tensor:
        """`output` plus Σ_a w_a B'_a A_a x for every token; may work in place.

        Args:
            x: (rows, tokens, d_in).
            weights: (rows, tokens, K).
            output: (rows, tokens, d_out).
        """
        return self.add_hidden(x @ self.a, weights, output)

    def add_hidden(self, hidden: torch.Tensor, weights: torch.Tensor, output: torch.Tensor) -> torch.Tensor:
        """The same from x @ a, (rows, tokens, R), which it may change."""
        hidden = hidden.mul_(weights.to(hidden.dtype)[..., self.owners])
        output.view(-1, output.shape[-1]).addmm_(hidden.view(-1, hidden.shape[-1]), self.b)
        return output


def stack_of(slots: Mapping[int, tuple[AdapterTable, int]]) -> CandidateStack:
    """The stack of candidates that lie in tables of one module.

    Args:
        slots: candidate's number → its table and slot; at least one.
    """
    by_table: dict[AdapterTable, dict[int, int]] = {}
    for candidate, (table, slot) in slots.items():
        by_table.setdefault(table, {})[candidate] = slot
    a, b, owners = [], [], []
    for table, numbers in by_table.items():
        chosen = torch.tensor(list(numbers.values()), device=table.a.device)
        a.append(table.a.view(-1, table.d_in, table.width)[chosen].transpose(0, 1).reshape(table.d_in, -1))
        b.append(table.b.view(-1, table.width, table.d_out).index_select(0, chosen).view(-1, table.d_out))
        owners.append(torch.tensor(list(numbers), device=table.a.device).repeat_interleave(table.width))
    return CandidateStack(torch.cat(a, dim=1), torch.cat(b), torch.cat(owners))
