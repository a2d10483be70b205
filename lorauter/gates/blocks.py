"""Decoder blocks by name. Knows: dotted names of modules. Does not know: models, what a block computes."""

from __future__ import annotations

import re

from catalog.errors import UnsupportedAdapter

_BLOCK = re.compile(r"(.+?\.\d+)\.")


def block_of(module: str) -> str:
    """The decoder block that a module stands in: `model.layers.1` of `model.layers.1.self_attn.q_proj`.

    Raises:
        UnsupportedAdapter: it stands in none, such as lm_head.
    """
    inside = _BLOCK.match(module)
    if inside is None:
        raise UnsupportedAdapter(
            f"The adapter targets {module}, which stands in no decoder block, and the gate weighs by blocks.",
            "Leave it out of the gate's candidates.",
        )
    return inside[1]
