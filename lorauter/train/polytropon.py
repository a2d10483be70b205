"""Trains `mhr` and `poly`: skills that all tasks of a catalog share, and each task's logits (arXiv 2211.03831).

Knows: their constants, what of a training is told. Does not know: how skills are trained
(lorauter/train/skill_training), how queries are routed (lorauter/routers/polytropon).

The authors train T5 on 36 to 119 tasks; ours is a causal model, q and v, and the scale of a catalog.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from catalog.errors import SettingError
from lorauter.routing.task_index import TaskIndex
from lorauter.train.fit import BASE, TRAIN, FitParts, Progress
from lorauter.train.skill_options import Schedule, SkillShape
from lorauter.trained.state import TrainedState


class PolytroponFit:
    """The cross-entropy of all tasks' answers.

    Args:
        name: "mhr" or "poly".
        shape: of the skills.
        schedule: of the training; without it, the default.
    """

    version = "1"
    reads = frozenset({BASE, TRAIN})

    def __init__(self, name: str, shape: SkillShape, schedule: Schedule | None = None) -> None:
        self.name, self._shape, self._schedule = name, shape, schedule or Schedule()

    @property
    def options(self) -> Mapping[str, Any]:
        """As `Fit`."""
        return {**asdict(self._shape), "targets": list(self._shape.targets), **asdict(self._schedule)}

    def adapters(self, _index: TaskIndex, _pool: Sequence[str], _doras: frozenset[str]) -> Sequence[str]:
        """None: skills are trained from nothing."""
        return ()

    def train(
        self, parts: FitParts, bound_seconds: float, seed: int, progress: Progress, checkpoint_folder: Path
    ) -> TrainedState:
        """As `Fit`."""
        from lorauter.adapters.skills import tensors_of
        from lorauter.train.frozen_base import frozen_base
        from lorauter.train.skill_training import Sitting, train_skills

        if parts.base_folder is None:
            raise SettingError(f"The router {self.name!r} trains on the base model.", "Give the fit a base_folder.")
        sitting = Sitting(checkpoint_folder, bound_seconds, seed, progress)
        base = frozen_base(parts.base_folder(), parts.device)
        made = train_skills(*base, parts.tasks, self._shape, self._schedule, sitting)
        facts = {
            **made.learned.facts,
            "outputs": list(made.skills.tasks),
            "scaling": made.skills.scaling,
            "sources": {task: list(source) for task, source in made.sources.items()},
        }
        tensors = {name: tensor.numpy() for name, tensor in tensors_of(made.skills).items()}
        return TrainedState(tensors, facts, {"seconds": made.learned.seconds})


MHR = PolytroponFit("mhr", SkillShape(heads=4))
POLY = PolytroponFit("poly", SkillShape(heads=1))
