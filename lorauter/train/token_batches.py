"""Token batches: labelled texts as tensors that a causal LM is trained on.

Knows: padding on the left, which token is to be foretold. Does not know: tasks, models.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

Row = tuple[list[int], list[int]]
"""Token ids of the prompt and of the completion."""
IGNORED = -100


@dataclass(frozen=True, slots=True, eq=False)
class TokenBatch:
    """Rows padded on the left, as they are when answers are made.

    Args:
        ids: (rows, width) int64.
        mask: (rows, width), 1 where a token stands.
        positions: (rows, width).
        goals: (rows, n) int64, the token that comes after each of the last n columns; IGNORED where none is foretold.
    """

    ids: torch.Tensor
    mask: torch.Tensor
    positions: torch.Tensor
    goals: torch.Tensor

    def loss(self, logits: torch.Tensor) -> torch.Tensor:
        """Mean cross-entropy of the goals, from logits of the last n columns, of which the last foretells nothing."""
        return torch.nn.functional.cross_entropy(
            logits[:, :-1].flatten(0, 1).float(), self.goals[:, :-1].flatten(), ignore_index=IGNORED
        )


def token_batch(rows: Sequence[Row], pad_id: int, device: str, whole: bool) -> TokenBatch:
    """Rows as a batch.

    Args:
        rows: prompt and completion, each at least one token.
        pad_id: of the padding.
        device: where the tensors lie.
        whole: whether prompts are foretold too, or completions alone.
    """
    width = max(len(prompt) + len(completion) for prompt, completion in rows)
    ids = torch.full((len(rows), width), pad_id)
    mask = torch.zeros(len(rows), width, dtype=torch.int64)
    goals = torch.full((len(rows), width), IGNORED)
    for number, (prompt, completion) in enumerate(rows):
        text = torch.tensor([*prompt, *completion])
        ids[number, -len(text) :], mask[number, -len(text) :] = text, 1
        known = 1 if whole else len(prompt)
        goals[number, width - len(text) + known - 1 : -1] = text[known:]
    first = int((goals != IGNORED).any(0).nonzero()[0])
    positions = (mask.cumsum(-1) - 1).clamp(min=0)
    return TokenBatch(ids.to(device), mask.to(device), positions.to(device), goals[:, first:].contiguous().to(device))
