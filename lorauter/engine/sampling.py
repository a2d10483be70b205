"""The next token of every row of a batch: the most probable one, or one drawn.

Knows: logits, temperature, the cuts by top_k and top_p, uniform numbers by row and step. Does not know: texts, caches,
when an answer ends (lorauter/engine).

A draw is the inverse of the distribution function, over the vocabulary in its own order, at one uniform number of
the row and step. So it does not depend on how ties are sorted, nor on the rows beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import torch

from lorauter.engine.decoding import Decoding, row_key

Choose = Callable[[torch.Tensor, Sequence[int]], torch.Tensor]
"""(logits (rows, vocabulary), which row of the batch each is) → the next token of each, (rows,) int64."""

_LOOK = 128  # most probable tokens that a nucleus is looked for in at first: sorting a vocabulary is dear


def chooser_of(
    decoding: Decoding, prompts: Sequence[str], adapters: Sequence[Sequence[str]], samples: Sequence[str], steps: int
) -> Choose:
    """How the tokens of one batch are chosen.

    Args:
        decoding: greedy, or how tokens are drawn.
        prompts: of the rows.
        adapters: those that take part in each row. Their weights are no part of a row's key: a gate has none.
        samples: what tells rows of one prompt and the same adapters apart.
        steps: of the longest answer.
    """
    if decoding.greedy:
        return most_probable
    named = [tuple((key, 1.0) for key in keys) for keys in adapters]
    rows = zip(prompts, named, samples, strict=True)
    return Draws(decoding, [row_key(decoding, *row) for row in rows], steps)


def most_probable(logits: torch.Tensor, _: Sequence[int]) -> torch.Tensor:
    """Greedy decoding: the token of the largest logit, the first of equals."""
    return logits.float().argmax(-1)  # in fp32 it takes a fifth of the time that it takes in bf16


class Draws:
    """Draws the next tokens of one batch; to be called once a step, from the first on.

    Args:
        decoding: not greedy.
        keys: `row_key` of each row of the batch.
        steps: of its longest answer.
    """

    def __init__(self, decoding: Decoding, keys: Sequence[int], steps: int) -> None:
        self._decoding = decoding
        self._uniforms = uniforms(keys, steps)
        self._step = 0

    def __call__(self, logits: torch.Tensor, rows: Sequence[int]) -> torch.Tensor:
        """The next token of each of `rows`."""
        at = torch.from_numpy(self._uniforms[list(rows), self._step]).to(logits.device)
        self._step += 1
        return draw(logits, at, self._decoding)


def uniforms(keys: Sequence[int], steps: int) -> npt.NDArray[np.float64]:
    """Uniform numbers in [0, 1), (keys, steps): the first `steps` of the Philox stream of each key.

    Philox4x64-10 (Salmon et al., SC 2011): numpy keeps its raw stream the same from version to version. Each number
    has the 53 upper bits of a word.
    """
    words = np.array([np.random.Philox(key=key).random_raw(steps) for key in keys], dtype=np.uint64)
    return (words.reshape(len(keys), steps) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def draw(logits: torch.Tensor, uniform: torch.Tensor, decoding: Decoding) -> torch.Tensor:
    """The token of each row at which the distribution function passes the row's uniform number.

    Args:
        logits: (rows, vocabulary), any float dtype; computed in fp32, added up in float64.
        uniform: (rows,), float64, in [0, 1).
        decoding: not greedy.

    Returns:
        Tokens, (rows,), int64, never one that a cut has left out.
    """
    function = probabilities(logits, decoding).cumsum(-1, dtype=torch.float64)
    tokens = torch.searchsorted(function, uniform[:, None] * function[:, -1:], right=True)[:, 0]
    return tokens.clamp(max=logits.shape[-1] - 1)  # logits that are no numbers must not name a token that is not there


def probabilities(logits: torch.Tensor, decoding: Decoding) -> torch.Tensor:
    """What a token is drawn from: (rows, vocabulary), fp32, 0 where it is cut; rows add up to what the cuts keep."""
    exact = logits.float()
    shares = torch.softmax((exact - exact.amax(-1, keepdim=True)) / decoding.temperature, -1)
    if 0 < decoding.top_k < shares.shape[-1]:
        shares = _from(shares, shares.topk(decoding.top_k).values[:, -1:])
    return _from(shares, _nucleus(shares, decoding.top_p)) if decoding.top_p < 1 else shares


def _from(shares: torch.Tensor, least: torch.Tensor) -> torch.Tensor:
    return shares.masked_fill(shares < least, 0)


def _nucleus(shares: torch.Tensor, top_p: float) -> torch.Tensor:
    """The smallest probability in each row's nucleus: (rows, 1)."""
    wanted = top_p * shares.sum(-1, keepdim=True, dtype=torch.float64)
    looked = min(_LOOK, shares.shape[-1])
    while True:
        top = shares.topk(looked).values
        mass = top.cumsum(-1, dtype=torch.float64)
        if looked == shares.shape[-1] or bool((mass[:, -1:] >= wanted).all()):
            last = (mass < wanted).sum(-1, keepdim=True).clamp(max=looked - 1)
            return top.gather(-1, last)
        looked = min(8 * looked, shares.shape[-1])
