"""Rank and scaling of each module, as PEFT 0.21 works them out.

Knows: r, rank_pattern, lora_alpha, alpha_pattern, use_rslora. Does not know: tensors; the rank is given.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from catalog.adapters.adapter import LoraShape
from catalog.adapters.patterns import Patience, Undecided


def scaling_of(module: str, rank: int, config: Mapping[str, Any], patience: Patience | None = None) -> float:
    """PEFT's scaling for one module (peft.tuners.lora.layer.LoraLayer.update_layer).

    Args:
        module: dotted name in the base, without PEFT's prefix.
        rank: rows of A. The tensor's rank wins over `r` and `rank_pattern`: PEFT fails to load
            an adapter where they differ, so there is nothing else it could mean.
        config: the parsed adapter_config.json.
        patience: what the adapter's patterns may still take; give one for all modules of an adapter.

    Raises:
        ValueError: alpha is no number, or a pattern cannot be matched, or takes too long.
    """
    alpha = _looked_up("alpha_pattern", "lora_alpha", module, config, patience or Patience())
    if isinstance(alpha, bool) or not isinstance(alpha, int | float) or not math.isfinite(alpha):
        raise ValueError(f"lora_alpha is {alpha!r}")
    return float(alpha / math.sqrt(rank) if config.get("use_rslora") else alpha / rank)


def declared_rank(module: str, config: Mapping[str, Any], patience: Patience | None = None) -> Any:
    """The rank that the config gives a module, of any type. Raises ValueError for a pattern that cannot be matched."""
    return _looked_up("rank_pattern", "r", module, config, patience or Patience())


def rank_mismatches(
    lora: Iterable[LoraShape], config: Mapping[str, Any], patience: Patience | None = None
) -> tuple[str, ...]:
    """Modules whose tensors have another rank than the config says; none where that cannot be decided."""
    patience = patience or Patience()
    try:
        return tuple(s.module for s in lora if declared_rank(s.module, config, patience) != s.rank)
    except ValueError:
        return ()


def pattern_key(patterns: Mapping[str, Any], module: str, patience: Patience) -> str | None:
    """The first key that matches a suffix of the module's name (peft.utils.get_pattern_key). Raises Undecided."""
    return patience.first_end(tuple(patterns), module) if patterns else None


def _looked_up(patterns: str, plain: str, module: str, config: Mapping[str, Any], patience: Patience) -> Any:
    table = config.get(patterns) or {}
    if not isinstance(table, Mapping):
        raise ValueError(f"{patterns} is no map")
    try:
        key = pattern_key(table, module, patience)
    except Undecided as error:
        raise ValueError(str(error)) from None
    return table[key] if key is not None else config.get(plain, 8)
