"""Memory budget: how large a batch may be on this device with this base.

Knows: what a token of a batch costs in keys, values, activations and logits. Does not know: rows, adapters' weights.

bf16 bits depend on which rows share a batch, so the budget must not follow what happens to be free this minute. It
is made from what does not change between two runs on one machine: the memory that the device has (or the container
may use), less the base; and it moves in powers of two, so that a little more or less memory changes nothing. What
that cannot foresee, such as another program on the same device, is met by halving the batch (lorauter/engine/batches).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from catalog.errors import SettingError
from lorauter.device import device_memory

SHARE = 0.5  # of the memory beside the base; the rest is for adapters, the allocator's losses, and others
LEAST_TOKENS = 256
# Measured on 2 CPU cores in bf16 with short prompts, 280 rows of 10 adapters: 64, 96, 128, 192 rows a batch give
# 56, 65, 64, 69 rows a second; the base alone 59, 61, 59, 65. The bounds of a GPU are a guess that nothing has tried.
MOST = {"cpu": (8192, 128), "cuda": (32768, 256)}


@dataclass(frozen=True, slots=True)
class Budget:
    """Bounds of a batch.

    Args:
        tokens: rows times (longest prompt + longest answer), padding included.
        rows: rows.
    """

    tokens: int
    rows: int

    def __post_init__(self) -> None:
        if self.tokens < 1 or self.rows < 1:
            raise SettingError(f"A batch's budget is {self.tokens} tokens, {self.rows} rows.", "Use 1 or more.")


def budget_for(model: Any, device: str, memory: int | None = None) -> Budget:
    """The budget of a base on a device; a pure function of the base's dimensions, the device's kind and `memory`.

    Args:
        memory: bytes the device has in all; asked of the device where left out.
    """
    tokens, rows = MOST[device.partition(":")[0]]
    total = device_memory(device) if memory is None else memory
    base = sum(tensor.numel() * tensor.element_size() for tensor in model.parameters())
    room = SHARE * max(0, total - base)
    rows = _step(room / 4 / logits_bytes(model), 1, rows)
    return Budget(_step((room - rows * logits_bytes(model)) / token_bytes(model), LEAST_TOKENS, tokens), rows)


def token_bytes(model: Any) -> int:
    """What one more token in a batch takes while it is computed, in bytes: its keys and values in every layer, and
    the activations of one layer at a time."""
    config = model.config.get_text_config()
    heads = config.num_attention_heads
    head = getattr(config, "head_dim", None) or config.hidden_size // heads
    kept = 2 * config.num_hidden_layers * (getattr(config, "num_key_value_heads", None) or heads) * head
    inner = getattr(config, "intermediate_size", None) or getattr(config, "n_inner", None) or 4 * config.hidden_size
    passing = 6 * config.hidden_size + 3 * heads * head + 3 * inner
    return int(kept + passing) * int(model.dtype.itemsize)


def logits_bytes(model: Any) -> int:
    """What one row's logits take, in bytes: once as computed and once in fp32."""
    return int(model.config.get_text_config().vocab_size) * (int(model.dtype.itemsize) + 4)


def _step(wanted: float, least: int, most: int) -> int:
    """The largest power of two that is at most `wanted`, between `least` and `most`."""
    step = most
    while step > least and step > wanted:
        step //= 2
    return max(step, least)
