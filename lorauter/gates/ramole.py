"""RAMoLE (arXiv 2406.16989): retrieved adapters weigh by attention, from a token to what each of them would add.

Knows: scores from the router's factors and adapters' B. Does not know: which adapters are retrieved
(lorauter/routers/retrieved_gate), how the factors are trained (lorauter/train/ramole), how outputs are summed.

    v_a = s_a B_a A_a x,    q = A_r x,    k_a = B_rᵀ v_a,    w = softmax over the row's adapters of ⟨q, k_a⟩ / √r

A_r (r × d_in) and B_r (d_out × r), one pair a module, are all that is trained, and no size of theirs depends on an
adapter: those that training never saw are weighed as well. v_a is never formed: M_a = s_a B_rᵀ B_a is r × r_a, so the
score is (A_r x) · M_a (A_a x), and A_a x is there anyway.

An adapter that does not touch a module adds v_a = 0 there, has the score 0 and takes its part of the softmax, as
B_a = 0 would: with B_r = 0 the weights are those of the uniform mixture at every module. A module that was not trained
has B_r = 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache, lru_cache

import torch

from lorauter.gates.row_gates import OwnGate, RowCandidates
from lorauter.gates.singular_rows import ReadAdapter, plain

_KEPT = 256


def weights_of(scores: torch.Tensor, there: torch.Tensor) -> torch.Tensor:
    """Weights from scores (…, K); `there` (bool, broadcast) says whose count."""
    return torch.softmax(scores.masked_fill(~there, -torch.inf), dim=-1)


def query_name(module: str) -> str:
    """The name of a module's A_r among the tensors."""
    return f"{module}.a"


def key_name(module: str) -> str:
    """The name of a module's B_r among the tensors."""
    return f"{module}.b"


class RamoleGate:
    """Weighs each row's own candidates by trained attention.

    Args:
        tensors: A_r and B_r by `query_name` and `key_name`, (r, d_in) and (d_out, r).
        read: gives adapters' weights.

    Raises:
        UnsupportedAdapter: by `weigh_rows`; a candidate cannot be read, or is a DoRA; the cause names it.
    """

    name = "ramole"

    def __init__(self, tensors: Mapping[str, torch.Tensor], read: ReadAdapter) -> None:
        self._tensors, self._read = tensors, read
        self._query = cache(lambda module, device, dtype: tensors[query_name(module)].to(device, dtype).T.contiguous())
        self._of_adapter = lru_cache(maxsize=_KEPT)(self._projected)

    def weigh_rows(self, module: str, x: torch.Tensor, own: RowCandidates) -> torch.Tensor:
        """As `RowGate`."""
        there = own.there[:, None]
        if query_name(module) not in self._tensors:
            return weights_of(x.new_zeros(*x.shape[:2], own.most), there)
        hidden = own.hidden().float()
        width = hidden.shape[-1]
        projected = own.per_row(("M", module, width), lambda one: self._stacked(module, one, own.most, width))
        query = (x @ self._query(module, x.device, x.dtype)).float()
        asked = torch.bmm(query, projected).view(hidden.shape)
        scores = (asked * hidden).sum(-1) / query.shape[-1] ** 0.5
        return weights_of(scores, there)

    def _stacked(self, module: str, one: OwnGate, most: int, width: int) -> torch.Tensor:
        """M of a row's candidates side by side, (r, k × width), 0 where there is none."""
        stacked = torch.zeros(len(self._tensors[query_name(module)]), most, width)
        for number, key in enumerate(one.adapters):
            projected = self._of_adapter(key).get(module)
            if projected is not None:
                stacked[:, number, : projected.shape[1]] = projected
        return stacked.flatten(1)

    def _projected(self, key: str) -> dict[str, torch.Tensor]:
        """M of one adapter by trained module, (r, r_a)."""
        return {
            module: pair.scaling * self._tensors[key_name(module)].float().T @ pair.b.float()
            for module, pair in plain(key, self._read(key)).modules.items()
            if key_name(module) in self._tensors
        }
