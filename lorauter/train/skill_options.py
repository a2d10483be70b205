"""What skills are and how they are trained, in numbers. Loads no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from lorauter.train.adapters import QV

Learns = Literal["all", "z", "mu"]
"""What few-shot adaptation trains: fresh logits and the skills; fresh logits alone; the mean of the skills alone."""


@dataclass(frozen=True, slots=True)
class SkillShape:
    """What is trained.

    Args:
        skills: S. One skill, one head and rank S · r is one shared LoRA of as many parameters.
        heads: h; 1 is Poly.
        rank: r.
        scaling: of every task's LoRA.
        targets: last names of the base's Linears.
    """

    skills: int = 4
    heads: int = 4
    rank: int = 4
    scaling: float = 2.0
    targets: tuple[str, ...] = QV


@dataclass(frozen=True, slots=True)
class Schedule:
    """How it is trained.

    Args:
        epochs: over all rows.
        learning_rate: of skills.
        logit_rate: of logits.
        batch_size: rows.
        examples: at most so many a task to learn from; None takes all.
        watch: share of each validation set that is watched, and teaches nothing; 0: the learned rows are watched.
        look_every: steps between two looks at it.
        patience: looks without a lower loss that end the training.
    """

    epochs: int = 4
    learning_rate: float = 2e-3
    logit_rate: float = 0.1
    batch_size: int = 16
    examples: int | None = None
    watch: float = 0.25
    look_every: int = 50
    patience: int = 4
