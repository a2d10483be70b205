"""Sign election and disjoint mean: TIES' steps after its trim (arXiv 2306.01708, "elect sign", "disjoint merge").

Knows: tensors of several members at one place. Does not know: which, or how they were thinned.

Two things are PEFT's and not the paper's, and are kept so that both give the same: signs are elected before weights
(a negative weight turns a member round after the vote), and the mean divides the weighted sum by the number of
members that agree. So weights that add up to 1 give about 1/n of what weights of 1 each give.
"""

from __future__ import annotations

import torch


def elect_and_merge(tensors: torch.Tensor, weights: torch.Tensor, majority: str) -> torch.Tensor:
    """The mean of the weighted entries whose sign won; 0 where every member has 0.

    Args:
        tensors: (n, …), thinned.
        weights: (n, 1, 1).
        majority: "total": the sign of the sum of the entries wins; "frequency": the commoner one. + wins a draw.
    """
    votes = tensors if majority == "total" else tensors.sign()
    winner = torch.where(votes.sum(0) >= 0, 1.0, -1.0)
    agree = tensors.sign() == winner
    return (tensors * weights * agree).sum(0) / agree.sum(0).clamp(min=1)
