"""Attention on a CPU for few tokens: two plain products for each head of keys.

Knows: grouped-query attention, masks. Does not know: models, caches, batches.

torch's attention kernel for CPUs packs every head's keys anew for each call, which in decoding takes most of a step.
Here the heads that share keys are taken together as so many more queries, and nothing is packed or copied. Many tokens,
where scores no longer fit the caches, go to torch's kernel as before. Rounding is as in the model library's "eager"
form: scores in the model's dtype, softmax in fp32.
"""

from __future__ import annotations

from typing import Any

import torch
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

CPU_ATTENTION = "lorauter_cpu"
"""Name under which transformers knows it (`attn_implementation`)."""

# Queries × keys. Measured on one core, bf16 and fp32: at 40 × 40 a third of the time, at 200 × 200 about the same.
MOST_SCORES = 16_384
HIDDEN = torch.finfo(torch.float32).min


def cpu_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    **options: Any,
) -> tuple[torch.Tensor, None]:
    """softmax(q kᵀ · scaling + mask) v, for the protocol of transformers' attention functions.

    Args:
        module: the attention layer.
        query: (rows, heads, t, d).
        key: (rows, heads / g, n, d).
        value: as `key`.
        attention_mask: (rows, 1, t, n), boolean or additive; None where each query sees all keys before it.
        dropout: of the weights; 0 here.
        scaling: d^-½ where left out.
        options: what else a model asks for.

    Returns:
        (rows, t, heads, d_v), and None for the weights.
    """
    rows, heads, tokens, width = query.shape
    groups, keys = key.shape[1], key.shape[2]
    if not _is_plain(attention_mask, tokens, keys, options) or dropout:
        kwargs = {"dropout": dropout, "scaling": scaling, **options}
        return sdpa_attention_forward(module, query, key, value, attention_mask, **kwargs)[0], None
    own = heads // groups * tokens
    scores = torch.bmm(query.reshape(-1, own, width), key.reshape(-1, keys, width).transpose(1, 2)).float()
    scores *= width**-0.5 if scaling is None else scaling
    by_row = scores.view(rows, -1, tokens, keys)
    if attention_mask is None:
        if tokens > 1:
            by_row.masked_fill_(query.new_ones(tokens, tokens, dtype=torch.bool).triu(1), HIDDEN)
    elif attention_mask.dtype == torch.bool:
        by_row.masked_fill_(~attention_mask, HIDDEN)
    else:
        by_row += attention_mask
    weights = scores.softmax(-1).to(value.dtype)
    attended = torch.bmm(weights, value.reshape(-1, keys, value.shape[-1])).view(rows, heads, tokens, -1)
    return attended.transpose(1, 2), None


def _is_plain(mask: torch.Tensor | None, tokens: int, keys: int, options: dict[str, Any]) -> bool:
    """Whether scores are few, and the model asks for nothing besides: no softcapping, bias, sinks or paged cache."""
    few = tokens == 1 or tokens * keys <= MOST_SCORES
    covered = tokens in (1, keys) if mask is None else mask.shape[1] == 1
    asked = any(options.get(name) is not None for name in ("softcap", "position_bias", "cache", "s_aux", "is_causal"))
    return few and covered and not asked


AttentionInterface.register(CPU_ATTENTION, cpu_attention)
AttentionMaskInterface.register(CPU_ATTENTION, sdpa_mask)
