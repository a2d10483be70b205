"""vLLM's OpenAI-compatible server: how it is started with adapters, how it is given one, and its requests.

Knows: vLLM's documented names (docs/features/lora.md of vllm-project/vllm; /v1/completions as OpenAI's), and the
ranks it can be started with. Does not know: the network, or how adapters came about.

vLLM applies one adapter a request, by the name that `model` gives; the base has its own.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from catalog.errors import UnsupportedAdapter
from lorauter.export.adapters import ServedAdapter
from lorauter.export.requests import Asked

RANKS = (8, 16, 32, 64, 128, 256, 320, 512)
"""What `--max-lora-rank` may be (vLLM's config/lora.py; 1 is left out, older ones lack it)."""


def completion(row: Asked, base_id: str, adapter: ServedAdapter | None) -> dict[str, Any]:
    """The body of POST /v1/completions for one row. The tokenizer adds its special tokens, as ours does."""
    body: dict[str, Any] = {
        "model": adapter.name if adapter else base_id,
        "prompt": row.prompt,
        "max_tokens": row.max_new_tokens,
        "temperature": row.decoding.temperature or 0,
    }
    return body | _drawing(row) | _stops(row)


def _stops(row: Asked) -> dict[str, Any]:
    """vLLM looks for stops in its text, from which it leaves special tokens out unless told not to (its issue 2947)."""
    shown = {"skip_special_tokens": False} if row.special_stops else {}
    return {"stop": list(row.stop), **shown} if row.stop else {}


def _drawing(row: Asked) -> dict[str, Any]:
    """`top_k` is vLLM's own beside OpenAI's names."""
    if row.decoding.greedy:
        return {}
    cut = {"top_k": row.decoding.top_k} if row.decoding.top_k else {}
    return {"top_p": row.decoding.top_p, **cut, "seed": row.seed}


def load_request(adapter: ServedAdapter) -> dict[str, str]:
    """The body of POST /v1/load_lora_adapter; the server needs VLLM_ALLOW_RUNTIME_LORA_UPDATING=True."""
    return {"lora_name": adapter.name, "lora_path": str(adapter.folder)}


def lora_module(adapter: ServedAdapter) -> str:
    """One value of `--lora-modules`: `name=path`, or the JSON form where the name or path has a `=` or a comma."""
    if any(sign in f"{adapter.name}{adapter.folder}" for sign in "=,"):
        return json.dumps({"name": adapter.name, "path": str(adapter.folder)})
    return f"{adapter.name}={adapter.folder}"


def serve_command(base_id: str, adapters: Sequence[ServedAdapter]) -> list[str]:
    """The arguments that start a server with the adapters loaded.

    Raises:
        UnsupportedAdapter: an adapter's rank is above what vLLM can be started with.
    """
    command = ["vllm", "serve", base_id]
    if not adapters:
        return command
    options = ["--enable-lora", "--max-lora-rank", str(max_lora_rank(adapters))]
    return [*command, *options, "--lora-modules", *map(lora_module, adapters)]


def max_lora_rank(adapters: Sequence[ServedAdapter]) -> int:
    """The least `--max-lora-rank` that takes them all. Raises UnsupportedAdapter: there is none."""
    largest = max(adapters, key=lambda adapter: adapter.rank)
    enough = next((rank for rank in RANKS if rank >= largest.rank), None)
    if enough is None:
        raise UnsupportedAdapter(
            f"{largest.name} has rank {largest.rank}; vLLM takes {RANKS[-1]} at most.",
            "Route to fewer adapters (top_k), or export the selection.",
        )
    return enough
