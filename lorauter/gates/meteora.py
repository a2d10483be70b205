"""MeteoRA (arXiv 2405.13053): a trained linear gate at each module; a token uses its two best adapters.

Knows: how logits become weights. Does not know: how the gate is trained (lorauter/train/meteora), how outputs are
summed.

    logits = G x,  G (K × d_in), without bias, one a module           w = softmax over the top 2 of logits / T

In training the paper takes the softmax over all K and renormalises the top 2: at T = 1 the same weights. There is no
"no adapter": two weights always sum to 1. Chosen by us: a row with fewer candidates than the gate has (a task masked
out of distribution, an adapter that has gone) has the logits of its own alone, and so weights that sum to 1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache

import torch

from lorauter.gates.choosing import softmax_of_top
from lorauter.gates.row_gates import OwnGate, RowCandidates

TOP_K = 2


def weights_of(logits: torch.Tensor, there: torch.Tensor, temperature: float = 1.0) -> torch.Tensor:
    """Weights from logits (…, K); `there` (bool, broadcast) says whose count."""
    return softmax_of_top(logits.masked_fill(~there, -torch.inf), TOP_K, temperature)


class MeteoraGate:
    """Weighs by trained logits.

    Args:
        tensors: G by module, (K, d_in).
        adapters: keys of the K rows of G.
        temperature: T.
    """

    name = "meteora"

    def __init__(self, tensors: Mapping[str, torch.Tensor], adapters: Sequence[str], temperature: float = 1.0) -> None:
        self._tensors, self._temperature = tensors, temperature
        self._place = {key: place for place, key in enumerate(adapters)}
        self._placed = cache(lambda module, device, dtype: tensors[module].to(device, dtype).T.contiguous())

    def weigh_rows(self, module: str, x: torch.Tensor, own: RowCandidates) -> torch.Tensor:
        """As `RowGate`."""
        logits = (x @ self._placed(module, x.device, x.dtype)).float()
        columns = own.per_row("columns of G", lambda one: self._columns(one, own.most))
        logits = logits.gather(2, columns[:, None].expand(-1, x.shape[1], -1))
        return weights_of(logits, own.there[:, None], self._temperature)

    def _columns(self, one: OwnGate, most: int) -> torch.Tensor:
        places = [self._place[key] for key in one.adapters]
        return torch.tensor(places + [0] * (most - len(places)))
