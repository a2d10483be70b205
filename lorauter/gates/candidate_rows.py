"""Candidate rows: some rows of each candidate at each module, in one matrix a module.

Knows: whose a row is, on which device and in which dtype it is asked for. Does not know: what the rows mean.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache

import torch


class CandidateRows:
    """Products of tokens with the rows of K candidates.

    Args:
        rows: for each candidate, module → (n, d_in); n may differ.
    """

    def __init__(self, rows: Sequence[Mapping[str, torch.Tensor]]) -> None:
        self.count = len(rows)
        self._rows = rows
        self._placed = cache(self._place)

    def products(self, module: str, x: torch.Tensor) -> torch.Tensor:
        """⟨row, x⟩ of all rows of a module: (rows, tokens, Σn), fp32, taken in x's dtype."""
        matrix, _, _ = self._placed(module, x.device, x.dtype)
        return (x @ matrix).float()

    def norms(self, module: str, x: torch.Tensor) -> torch.Tensor:
        """‖M_a x‖₂ with M_a a candidate's rows: (rows, tokens, K), fp32, -inf for who has none at the module."""
        _, owned, absent = self._placed(module, x.device, x.dtype)
        return (self.products(module, x).square_() @ owned).sqrt_().add_(absent)

    def _place(
        self, module: str, device: torch.device, dtype: torch.dtype
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """A module's rows as columns (d_in, Σn), 1 where one is a candidate's (Σn, K), -inf for who has none (K,)."""
        there = {number: rows[module] for number, rows in enumerate(self._rows) if module in rows}
        owners = torch.tensor([number for number, matrix in there.items() for _ in range(len(matrix))])
        absent = torch.full((self.count,), -torch.inf)
        absent[list(there)] = 0
        owned = torch.nn.functional.one_hot(owners, self.count).float()
        stacked = torch.cat(list(there.values())).to(device, dtype).T.contiguous()
        return stacked, owned.to(device), absent.to(device)
