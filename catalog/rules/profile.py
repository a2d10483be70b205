"""What an adapter is, in one record: base, type, ranks, scalings, what it touches, what it carries besides.

Knows: how facts, base and match become a `Profile`. Does not know: whether any of it is good (catalog/rules).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from catalog.adapters.facts import AdapterFacts
from catalog.adapters.patterns import Patience
from catalog.adapters.scaling import rank_mismatches, scaling_of
from catalog.adapters.tensor_names import saved_rows
from catalog.bases.base import Base
from catalog.bases.names import BaseMatch
from catalog.bases.target_modules import resolve_targets


@dataclass(frozen=True, slots=True, order=True)
class RankGroup:
    """So many modules of one rank and one scaling; scaling None where the config does not tell it."""

    rank: int
    scaling: float | None
    modules: int


@dataclass(frozen=True, slots=True)
class Profile:
    """An adapter as config and header show it.

    Args:
        base_named: the base as it was given.
        base_source: what told it.
        base_twin: it is a quantised copy.
        peft_type: as the config says.
        task_type: as the config says.
        peft_version: as the config says.
        modules: LoRA pairs.
        matched: those at a module of the base, None without one.
        targeted: modules of the base that target_modules means, None where that cannot be decided.
        ranks: pairs by rank and scaling, from the header.
        dtypes: of all tensors.
        dora: whether it scales by learned magnitudes.
        rslora: whether its scaling is alpha / sqrt(rank).
        bias: which biases it trained, as the config says.
        saved_modules: modules_to_save.
        added_rows: embedding rows beyond the base's vocabulary.
        other_tensors: tensors that are no LoRA pair.
        rank_mismatches: pairs whose rank is not the config's.
    """

    base_named: str | None
    base_source: str
    base_twin: bool
    peft_type: str | None
    task_type: str | None
    peft_version: str | None
    modules: int
    matched: int | None
    targeted: int | None
    ranks: tuple[RankGroup, ...]
    dtypes: tuple[str, ...]
    dora: bool
    rslora: bool
    bias: str | None
    saved_modules: tuple[str, ...]
    added_rows: int
    other_tensors: int
    rank_mismatches: int = 0


def profile(facts: AdapterFacts, base: Base | None, match: BaseMatch) -> Profile:
    """The adapter's profile; without a base, what only a base can tell is None or 0."""
    config = facts.config or {}
    patience = Patience()
    targets = resolve_targets(config, base, patience) if base else None
    saved = config.get("modules_to_save")
    return Profile(
        base_named=match.named or None,
        base_source=match.source,
        base_twin=match.twin,
        peft_type=_text(config, "peft_type"),
        task_type=_text(config, "task_type"),
        peft_version=_text(config, "peft_version"),
        modules=len(facts.lora),
        matched=sum(s.module in base.modules for s in facts.lora) if base else None,
        targeted=None if targets is None else len(targets),
        ranks=_rank_groups(facts, patience),
        dtypes=tuple(sorted({t.dtype for t in facts.tensors} or {s.dtype for s in facts.lora})),
        dora=facts.dora or config.get("use_dora") is True,
        rslora=config.get("use_rslora") is True,
        bias=_text(config, "bias"),
        saved_modules=tuple(dict.fromkeys(s for s in saved if isinstance(s, str))) if isinstance(saved, list) else (),
        added_rows=added_rows(facts, base),
        other_tensors=len(facts.other_tensors),
        rank_mismatches=len(rank_mismatches(facts.lora, config, patience)) if facts.config else 0,
    )


def added_rows(facts: AdapterFacts, base: Base | None) -> int:
    """Rows of the adapter's embeddings beyond those of the base; 0 without a base to compare with."""
    if base is None:
        return 0
    rows_of_base = {name: rows for name, (rows, _) in base.embeddings.items()}
    rows_of_base |= {name: d_out for name, (_, d_out) in base.modules.items()}
    saved = saved_rows(facts.tensors).items()
    return max((rows - rows_of_base[name] for name, rows in saved if name in rows_of_base), default=0)


def _rank_groups(facts: AdapterFacts, patience: Patience) -> tuple[RankGroup, ...]:
    """The LoRA pairs by rank and scaling."""
    counts = Counter((s.rank, _scaling(s.module, s.rank, facts.config, patience)) for s in facts.lora)
    groups = (RankGroup(rank, scaling, count) for (rank, scaling), count in counts.items())
    return tuple(sorted(groups, key=lambda g: (g.rank, g.scaling is None, g.scaling or 0)))


def _scaling(module: str, rank: int, config: Mapping[str, Any] | None, patience: Patience) -> float | None:
    try:
        return scaling_of(module, rank, config, patience) if config is not None else None
    except (ValueError, OverflowError):
        return None


def _text(config: Mapping[str, Any], field: str) -> str | None:
    value = config.get(field)
    return value[:200] if isinstance(value, str) else None
