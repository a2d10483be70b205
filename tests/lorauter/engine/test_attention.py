"""Attention for few tokens is torch's attention."""

from __future__ import annotations

import pytest
import torch

from lorauter.engine.attention import cpu_attention

LAYER = torch.nn.Module()  # plain products ask nothing of it


def torchs(groups: int, given: dict[str, torch.Tensor], mask: torch.Tensor | None, scaling: float) -> torch.Tensor:
    """What torch's own kernel makes of it: (rows, tokens, heads, d)."""
    causal = mask is None and given["query"].shape[2] > 1
    attended = torch.nn.functional.scaled_dot_product_attention(
        *given.values(), attn_mask=mask, is_causal=causal, scale=scaling, enable_gqa=groups > 1
    )
    return attended.transpose(1, 2)


def inputs(tokens: int, keys: int, groups: int) -> dict[str, torch.Tensor]:
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

    attended, _ = cpu_attention(LAYER, **given, attention_mask=mask, scaling=0.3)

    torch.testing.assert_close(attended, torchs(groups, given, mask, 0.3))


@pytest.mark.parametrize(("tokens", "by_torch"), [(100, False), (200, True)])
def test_many_tokens_go_to_torchs_kernel_and_few_do_not(tokens: int, by_torch: bool) -> None:
    """To the last bit: the two ways round otherwise."""
    given, mask = inputs(tokens, tokens, 1), causal(tokens, tokens)

    attended, _ = cpu_attention(LAYER, **given, attention_mask=mask, scaling=0.3)

    assert torch.equal(attended, torchs(1, given, mask, 0.3)) == by_torch
