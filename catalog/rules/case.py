"""One adapter before the rules: its facts, the base it is judged for, and what a catalog wants.

Knows: what rules look at, and what they share. Does not know: the rules (catalog/rules).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from catalog.adapters.facts import AdapterFacts
from catalog.adapters.patterns import Patience
from catalog.bases.base import Base
from catalog.bases.names import BaseMatch
from catalog.bases.target_modules import resolve_targets, targeted

_ANY_MODULES = ("model.layers.0.mlp.up_proj",)


@dataclass(frozen=True, slots=True)
class Policy:
    """What this catalog wants, beyond what can be run.

    Args:
        max_rank: largest LoRA rank.
        max_bytes: largest weights file.
        licences: admitted licence tags, empty for any.
        dora: whether DoRA adapters are admitted.
        min_downloads: least downloads.
        blocked: authors (the part before `/`) never admitted.
        rank_mismatch: whether an adapter is admitted whose tensors have another rank than its config says; theirs
            counts then, and what alpha was meant for stays a guess.
    """

    max_rank: int = 64
    max_bytes: int = 1 << 30
    licences: tuple[str, ...] = ()
    dora: bool = True
    min_downloads: int = 0
    blocked: tuple[str, ...] = ()
    rank_mismatch: bool = False


@dataclass(frozen=True)
class Case:
    """One adapter before the rules: its facts, the base it is judged for (None: not known here), the policy.

    Args:
        match: the base it is made for.
        base_problem: why the base could not be read.
        alone: no catalog judges it, and no base is to come that could clear it.
    """

    facts: AdapterFacts
    base: Base | None
    policy: Policy
    match: BaseMatch
    base_problem: str | None = None
    alone: bool = False

    @property
    def config(self) -> Mapping[str, Any]:
        """The config, empty where it could not be read."""
        return self.facts.config or {}

    @cached_property
    def is_lora(self) -> bool:
        """Whether the config is a LoRA's: the rules about its fields mean nothing for another's."""
        return self.config.get("peft_type") == "LORA"

    @cached_property
    def patience(self) -> Patience:
        """What all patterns of the config together may take."""
        return Patience()

    @cached_property
    def targets(self) -> frozenset[str] | None:
        """Modules of the base that the config means; None where that cannot be decided."""
        return resolve_targets(self.config, self.base, self.patience) if self.base and self.is_lora else None

    @cached_property
    def pairs_targeted(self) -> frozenset[str] | None:
        """Modules of the header that the config means, or of any model's where there is no header; None: undecided."""
        return targeted(self.config, [s.module for s in self.facts.lora] or _ANY_MODULES, self.patience)


Check = Callable[[Case], str | None]
"""A rule: the evidence where it rejects, else None."""
