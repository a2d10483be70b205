"""Choosing: from a token's scores to its weights.

Knows: scores, of which -inf is nobody's. Does not know: what they mean.
"""

from __future__ import annotations

import torch


def softmax_of_top(scores: torch.Tensor, top_k: int, temperature: float) -> torch.Tensor:
    """softmax(score / τ) over the k highest, 0 elsewhere; scores (…, K), at least one of each token finite."""
    highest, places = scores.topk(min(top_k, scores.shape[-1]), dim=-1)
    return torch.zeros_like(scores).scatter_(-1, places, torch.softmax(highest / temperature, dim=-1))


def only_top(scores: torch.Tensor, top_k: int) -> torch.Tensor:
    """The k highest scores (…, K), -inf elsewhere."""
    highest, places = scores.topk(min(top_k, scores.shape[-1]), dim=-1)
    return torch.full_like(scores, -torch.inf).scatter_(-1, places, highest)


def the_best(scores: torch.Tensor) -> torch.Tensor:
    """1 for the highest, 0 elsewhere; scores (…, K)."""
    return torch.zeros_like(scores).scatter_(-1, scores.argmax(dim=-1, keepdim=True), 1.0)
