"""Options: the log-probability of each continuation of a prompt, the prompt computed once.

Knows: how a prompt's cache is shared by its options, how the tokens of an option are counted. Does not know: which
option is right (catalog/tasks/option_metrics), how rows become batches (lorauter/engine).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import DynamicCache

from catalog.tasks.option_metrics import OptionLogprobs
from lorauter.engine.bank.batch_plan import BatchPlan


@dataclass(frozen=True, slots=True)
class PromptState:
    """A batch of prompts after their forward pass.

    Args:
        cache: keys and values, (rows, …).
        mask: (rows, longest), 1 where a token stands.
        positions: (rows,), of the token that comes next.
        logits: (rows, vocabulary), of that token.
        plan: the adapters of the rows.
    """

    cache: DynamicCache
    mask: torch.Tensor
    positions: torch.Tensor
    logits: torch.Tensor
    plan: BatchPlan


def option_logprobs(model: Any, state: PromptState, options: Sequence[Sequence[Sequence[int]]]) -> list[OptionLogprobs]:
    """log p(option | prompt) of every option of every row: the sum over its tokens, in fp32.

    Args:
        options: for each row the token ids of its options, each at least one token. `state` is used up.
    """
    device = state.logits.device
    owners = torch.tensor([row for row, given in enumerate(options) for _ in given], device=device)
    flat = [list(tokens) for given in options for tokens in given]
    first = torch.tensor([tokens[0] for tokens in flat], device=device)
    totals = torch.log_softmax(state.logits.float(), -1)[owners, first]  # what the prompt's own last position says
    longest = max(map(len, flat))
    if longest > 1:
        state.cache.batch_select_indices(owners)
        state.plan.select(owners)
        totals = totals + _later_tokens(model, state, owners, flat, longest)
    dealt = iter(totals.tolist())
    return [OptionLogprobs(tuple(next(dealt) for _ in given), tuple(map(len, given))) for given in options]


def _later_tokens(
    model: Any, state: PromptState, owners: torch.Tensor, flat: list[list[int]], longest: int
) -> torch.Tensor:
    """(options,): the sum over an option's second token and on, in one forward pass, padded on the right."""
    device = owners.device
    inputs = torch.tensor([tokens[:-1] + [0] * (longest - len(tokens)) for tokens in flat], device=device)
    targets = torch.tensor([tokens[1:] + [0] * (longest - len(tokens)) for tokens in flat], device=device)
    there = torch.tensor([[1] * (len(t) - 1) + [0] * (longest - len(t)) for t in flat], device=device)
    steps = torch.arange(longest - 1, device=device)
    output = model(
        input_ids=inputs,
        attention_mask=torch.cat([state.mask[owners], there], dim=1),
        position_ids=state.positions[owners][:, None] + steps,
        past_key_values=state.cache,
        use_cache=True,
    )
    logprobs = torch.log_softmax(output.logits.float(), -1).gather(-1, targets[..., None])[..., 0]
    return (logprobs * there).sum(-1)
