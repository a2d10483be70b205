"""Prompt tokens: texts as rows of token ids, cut to the base's context and padded on the left.

Knows: the tokenizer, the context. Does not know: models, adapters, what follows a prompt.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch


class PromptTokens:
    """Token ids of prompts and of what continues them.

    Args:
        tokenizer: of the base.
        context: tokens that the base can look at.
        device: where tensors are made.

    Attributes:
        blank: a token that stands for an empty prompt, and that fills the padding.
    """

    def __init__(self, tokenizer: Any, context: int, device: str) -> None:
        self._tokenizer, self.context, self._device = tokenizer, context, device
        standing_in = (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id)
        self.blank = next((int(token) for token in standing_in if token is not None), 0)

    def of(self, prompts: Sequence[str]) -> list[list[int]]:
        """The ids of each prompt, whole; at least one."""
        rows: list[list[int]] = self._tokenizer(list(prompts))["input_ids"] if prompts else []
        return [ids or [self.blank] for ids in rows]

    def continuation(self, option: str) -> list[int]:
        """The ids of an option as it continues a prompt."""
        ids: list[int] = self._tokenizer(f" {option}", add_special_tokens=False)["input_ids"]
        return ids or [self.blank]

    def padded(self, prompts: Sequence[str], limits: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
        """Token ids and mask, both (rows, longest), int64; a row keeps its end and leaves room for its bound."""
        cut = [ids[-max(1, self.context - limit) :] for ids, limit in zip(self.of(prompts), limits, strict=True)]
        longest = max(map(len, cut))
        ids = torch.tensor([[self.blank] * (longest - len(row)) + row for row in cut])
        mask = torch.tensor([[0] * (longest - len(row)) + [1] * len(row) for row in cut])
        return ids.to(self._device), mask.to(self._device)


def positions_of(mask: torch.Tensor) -> torch.Tensor:
    """Each token's place in its own text, padding at 0: (rows, longest)."""
    return (mask.cumsum(1) - 1).clamp(min=0)
