"""Attention for few tokens is torch's attention."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from lorauter.engine import attention
from lorauter.engine.attention import cpu_attention


class Heads(torch.nn.Module):
    """What an attention layer tells of itself."""

    def __init__(self, groups: int) -> None:
        super().__init__()
        self.num_key_value_groups = groups


def inputs(tokens: int, keys: int, groups: int) -> dict[str, Any]:
    made = torch.Generator().manual_seed(0)
    shapes = {"query": (3, 6, tokens, 8), "key": (3, 6 // groups, keys, 8), "value": (3, 6 // groups, keys, 8)}
    return {name: torch.randn(shape, generator=made) for name, shape in shapes.items()}


def causal(tokens: int, keys: int) -> torch.Tensor:
    """Padding on the left of one row, and no look ahead: (3, 1, tokens, keys)."""
    mask = torch.ones(tokens, keys, dtype=torch.bool).tril(keys - tokens).repeat(3, 1, 1, 1)
    mask[1, :, :, : keys - tokens] = False
    return mask


@pytest.mark.parametrize("groups", [1, 3])
@pytest.mark.parametrize(("tokens", "keys"), [(1, 7), (4, 9), (5, 5)])
@pytest.mark.parametrize("kind", ["boolean", "additive", "none"])
def test_it_is_torchs(groups: int, tokens: int, keys: int, kind: str) -> None:
    if kind == "none" and tokens not in (1, keys):
        pytest.skip("the model library gives no mask only where none is needed")
    given = inputs(tokens, keys, groups)
    seen = causal(tokens, keys)
    mask = {"boolean": seen, "additive": torch.zeros(seen.shape).masked_fill(~seen, -torch.inf), "none": None}[kind]

    found, _ = cpu_attention(Heads(groups), **given, attention_mask=mask, scaling=0.3)

    wanted, _ = sdpa_attention_forward(Heads(groups), **given, attention_mask=mask, scaling=0.3)
    torch.testing.assert_close(found, wanted)


def test_many_tokens_go_to_torchs_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    given, asked = inputs(200, 200, 3), []
    monkeypatch.setattr(attention, "sdpa_attention_forward", lambda *_, **__: (asked.append(1), None))

    cpu_attention(Heads(3), **given, attention_mask=causal(200, 200))

    assert asked == [1]
