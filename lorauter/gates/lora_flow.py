"""LoRA-Flow (arXiv 2402.11455): a few-shot gate a decoder block, from what enters the block before its layer norm.

Knows: weights from the trained W and b, for each of several tasks. Does not know: how they are trained
(lorauter/train/lora_flow), which task a row is taken for, how outputs are summed.

    w = softmax(W h / T) + b,    W (K × d), b (K)                   one pair a block and task, shared by its modules

Weights may be negative and need not sum to 1. b starts so that at W = 0 the last candidate has weight 1 and the
others 0.

Chosen by us: a row that lacks a candidate (masked out of distribution, or gone) takes the softmax over its own, and the
others' b is spread over them evenly: the weights keep their sum.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from lorauter.gates.row_gates import OwnGate, RowCandidates


def weights_of(
    h: torch.Tensor, w: torch.Tensor, b: torch.Tensor, there: torch.Tensor, temperature: float = 1.0
) -> torch.Tensor:
    """Weights (rows, tokens, K).

    Args:
        h: (rows, tokens, d).
        w: (rows or 1, K, d).
        b: (rows or 1, K).
        there: (rows or 1, K) bool, whose count.
        temperature: T.
    """
    scores = (h @ w.transpose(1, 2).to(h.dtype)).float() / temperature
    shares = torch.softmax(scores.masked_fill(~there[:, None], -torch.inf), dim=-1)
    return shares + b[:, None].where(there[:, None], 0.0)


def start_of(candidates: int) -> torch.Tensor:
    """b before training: (-.5, .5) of two."""
    b = torch.full((candidates,), -1 / candidates)
    b[-1] = 1 - 1 / candidates
    return b


def weight_name(part: str, block: str) -> str:
    """The name of W of a task at a block among the tensors."""
    return f"{part}|{block}.w"


def bias_name(part: str, block: str) -> str:
    """The name of b of a task at a block among the tensors."""
    return f"{part}|{block}.b"


class LoraFlowGate:
    """Weighs by the gate of each row's task.

    Args:
        tensors: W and b by `weight_name` and `bias_name`.
        candidates: by task, keys of the K rows of its W.
        temperature: T.
    """

    name = "lora_flow"
    reads_blocks = True

    def __init__(
        self,
        tensors: Mapping[str, torch.Tensor],
        candidates: Mapping[str, Sequence[str]],
        temperature: float = 1.0,
    ) -> None:
        self._tensors, self._candidates, self._temperature = tensors, candidates, temperature

    def weigh_rows(self, module: str, x: torch.Tensor, own: RowCandidates) -> torch.Tensor:
        """As `RowGate`; `module` is a block."""
        w = own.per_row(("w", module), lambda one: self._own_w(module, one, own.most))
        b = own.per_row(("b", module), lambda one: self._own_b(module, one, own.most))
        return weights_of(x, w, b, own.there, self._temperature)

    def _own_w(self, block: str, one: OwnGate, most: int) -> torch.Tensor:
        w = self._tensors[weight_name(one.part, block)].float()
        return _filled(w[self._places(one)], most)

    def _own_b(self, block: str, one: OwnGate, most: int) -> torch.Tensor:
        b, places = self._tensors[bias_name(one.part, block)].float(), self._places(one)
        if len(places) < len(b):
            b = b.index_fill(0, torch.tensor(places), 0.0).sum() / len(places) + b
        return _filled(b[places], most)

    def _places(self, one: OwnGate) -> list[int]:
        order = list(self._candidates[one.part])
        return [order.index(key) for key in one.adapters]


def _filled(rows: torch.Tensor, most: int) -> torch.Tensor:
    return torch.cat([rows, rows.new_zeros(most - len(rows), *rows.shape[1:])])
