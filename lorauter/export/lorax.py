"""LoRAX's /generate: requests with one adapter, or with several that LoRAX merges itself.

Knows: LoRAX's documented names (docs/reference/openapi.json and docs/guides/merging_adapters.md of predibase/lorax),
and how its merges differ from PEFT's. Does not know: the network, or how adapters came about.

LoRAX multiplies A and B both by the full weight, adds them up, and scales by the first member's alpha / r. So its
`linear` is LoraRetriever's fusion; and PEFT's merges, which put the root of the weight on each side, are LoRAX's with
√w for w. Both hold for members of one rank and one scaling, the latter for positive weights.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from catalog.errors import SettingError, UnsupportedAdapter
from lorauter.adapters.weights import AdapterWeights
from lorauter.compositions.base import CompositionOptions, summed
from lorauter.export.adapters import ServedAdapter, plain_rank
from lorauter.export.requests import Asked
from lorauter.routing.routes import Mixture

STRATEGIES = {
    "fusion": "linear",
    "linear": "linear",
    "ties": "ties",
    "dare_linear": "dare_linear",
    "dare_ties": "dare_ties",
}
"""Our compositions that LoRAX can make, by its names. DARE's random draw is LoRAX's own."""
MOST_STOPS = 4


def generate(row: Asked, adapter: ServedAdapter | None) -> dict[str, Any]:
    """The body of POST /generate for one row, with an adapter from a folder that the server sees."""
    named = {"adapter_id": str(adapter.folder), "adapter_source": "local"} if adapter else {}
    return _body(row, named)


def generate_merged(
    row: Asked,
    name: str,
    options: CompositionOptions,
    find: Callable[[str], Path],
    read: Callable[[str], AdapterWeights],
) -> dict[str, Any]:
    """The body of POST /generate for one row whose adapters LoRAX merges; a lone one of weight 1 is not merged.

    Args:
        name: a composition of STRATEGIES.
        options: its density and majority.
        find: the folder of an adapter's key, as the server sees it.
        read: its weights, to see that they fit.

    Raises:
        SettingError: LoRAX has no such merge, or cannot make it with a negative weight.
        UnsupportedAdapter: ranks or scalings differ, so LoRAX would refuse or make another merge; or a DoRA.
    """
    members = summed(row.mixture)
    if name not in STRATEGIES:
        raise SettingError(f"LoRAX has no merge {name!r}.", f"Choose from {', '.join(STRATEGIES)}, or export a folder.")
    _refuse_unlike(members, find, read)
    folders = [str(find(key).resolve()) for key, _ in members]
    if not members:
        return _body(row, {})
    if len(members) == 1 and members[0][1] == 1:
        return _body(row, {"adapter_id": folders[0], "adapter_source": "local"})
    merged = {"ids": folders, "weights": _weights(name, members), **_strategy(name, len(members), options)}
    return _body(row, {"merged_adapters": merged, "adapter_source": "local"})


def _body(row: Asked, adapter: dict[str, Any]) -> dict[str, Any]:
    if len(row.stop) > MOST_STOPS:
        raise SettingError(f"{len(row.stop)} stops are given; LoRAX takes {MOST_STOPS}.", "Cut the answers afterwards.")
    stop = {"stop": list(row.stop)} if row.stop else {}
    plain = {"max_new_tokens": row.max_new_tokens, "return_full_text": False}
    return {"inputs": row.prompt, "parameters": {**adapter, **_drawing(row), **plain, **stop}}


def _drawing(row: Asked) -> dict[str, Any]:
    """What cuts nothing is left out: a top_k of 0 lies outside LoRAX's range."""
    decoding = row.decoding
    if decoding.greedy:
        return {"do_sample": False}
    nucleus = {"top_p": decoding.top_p} if decoding.top_p < 1 else {}
    cut = {"top_k": decoding.top_k} if decoding.top_k else {}
    return {"do_sample": True, "temperature": decoding.temperature, **nucleus, **cut, "seed": row.seed}


def _weights(name: str, members: Mixture) -> list[float]:
    if name == "fusion":
        return [weight for _, weight in members]
    negative = next((key for key, weight in members if weight < 0), None)
    if negative is not None:
        raise SettingError(
            f"{negative} has a negative weight, whose root LoRAX's {name} would need.",
            "Export a folder, which has the sign on A alone.",
        )
    return [math.sqrt(weight) for _, weight in members]


def _strategy(name: str, count: int, options: CompositionOptions) -> dict[str, Any]:
    """A lone member is weighted and not thinned, as in PEFT. LoRAX's client always wants a density."""
    if count == 1 or STRATEGIES[name] == "linear":
        return {"merge_strategy": "linear", "density": 1.0}
    told: dict[str, Any] = {"merge_strategy": STRATEGIES[name], "density": options.density}
    return told | ({"majority_sign_method": options.majority} if name.endswith("ties") else {})


def _refuse_unlike(members: Mixture, find: Callable[[str], Path], read: Callable[[str], AdapterWeights]) -> None:
    kinds = {key: _kind(key, find(key), read(key)) for key, _ in members}
    first = next(iter(kinds), "")
    for key, kind in kinds.items():
        if kind != kinds[first]:
            raise UnsupportedAdapter(
                f"{first} has rank {kinds[first][0]} and scaling {kinds[first][1]:g}, {key} {kind[0]} and {kind[1]:g}: "
                "LoRAX merges adapters of one rank and scaling.",
                "Export a folder.",
            )


def _kind(key: str, folder: Path, weights: AdapterWeights) -> tuple[int, float]:
    """Rank and scaling of a member, the same at all its modules."""
    pairs = list(weights.modules.values())
    if any(pair.magnitude is not None for pair in pairs):
        raise UnsupportedAdapter(f"{key} is a DoRA, which LoRAX does not serve.", "Leave it out of the pool.")
    rank = plain_rank(folder, weights)
    if rank is None:
        raise UnsupportedAdapter(
            f"{key} has ranks or scalings of single modules, or is an rsLoRA, which LoRAX passes over.",
            "Export a folder.",
        )
    return rank, pairs[0].scaling
