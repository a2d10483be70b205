"""Trains the skills and logits of Poly and MHR (arXiv 2211.03831) on many tasks at once, over one frozen base.

Knows: the objective, what few-shot adaptation trains. Does not know: where tasks come from, where skills are kept, the
loop (lorauter/train/steps), what skills are worth.

The objective is the language model's cross-entropy over the answers of all tasks, weights drawn (skill_forward). Logits
learn at a rate of their own, 0.1 in the authors' code: at the skills' rate they would hardly leave their start.
Of every task's validation set a share is watched: what is given back is what had the lowest loss there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from catalog.errors import SettingError
from catalog.tasks.task import Task
from lorauter.adapters.skills import Skills, mean_skill, new_skills, skills_of, tensors_of, with_fresh_logits
from lorauter.train.adapters import completion_loss
from lorauter.train.fit import Progress
from lorauter.train.skill_forward import AppliedSkills, shapes_of
from lorauter.train.skill_options import Learns, Schedule, SkillShape
from lorauter.train.skill_rows import Source, TaskRow, even_batches, mixed_batches, split_task, task_rows
from lorauter.train.steps import Learned, Steps, mean_loss, train_steps

PARTS: dict[Learns, tuple[str, ...]] = {"all": ("a", "b", "logits"), "z": ("logits",), "mu": ("a", "b")}
LOGITS = "logits"


@dataclass(frozen=True, slots=True)
class Sitting:
    """Where a training runs, how long, and from which seed.

    Args:
        checkpoint_folder: as of `lorauter.train.fit.Fit.train`, and so are bound, seed and progress.
    """

    checkpoint_folder: Path
    bound_seconds: float = float("inf")
    seed: int = 0
    progress: Progress = lambda step, steps, loss: None


@dataclass(frozen=True, slots=True, eq=False)
class TrainedSkills:
    """Skills with how they came about.

    Args:
        learned: what the loop says.
        sources: the split that each task was trained on, and how many rows of it.
    """

    skills: Skills
    learned: Learned
    sources: dict[str, tuple[Source, int]]


def train_skills(
    model: Any, tokenizer: Any, tasks: Sequence[Task], shape: SkillShape, schedule: Schedule, sitting: Sitting
) -> TrainedSkills:
    """Skills and logits of many tasks, from nothing.

    Args:
        model: a frozen base, as `frozen_base` loads it.

    Raises:
        SettingError: nothing to learn from, or a shape that the base does not have.
    """
    start = new_skills(
        shapes_of(model, shape.targets),
        [task.name for task in tasks],
        skills=shape.skills,
        heads=shape.heads,
        rank=shape.rank,
        scaling=shape.scaling,
        seed=sitting.seed,
    )
    return _train(model, tokenizer, tasks, start, "all", schedule, sitting)


def adapt_skills(
    model: Any, tokenizer: Any, task: Task, skills: Skills, learns: Learns, schedule: Schedule, sitting: Sitting
) -> TrainedSkills:
    """Trained skills fitted to one further task.

    Args:
        learns: "mu" has no logits: the plain mean of the skills is trained as one LoRA.

    Raises:
        SettingError: nothing to learn from.
    """
    names = [task.name]
    start = mean_skill(skills, names) if learns == "mu" else with_fresh_logits(skills, names, sitting.seed)
    return _train(model, tokenizer, [task], start, learns, schedule, sitting)


def _train(
    model: Any,
    tokenizer: Any,
    tasks: Sequence[Task],
    start: Skills,
    learns: Learns,
    schedule: Schedule,
    sitting: Sitting,
) -> TrainedSkills:
    if not 0 <= schedule.watch < 1 or min(schedule.epochs, schedule.batch_size, schedule.look_every) < 1:
        raise SettingError("The schedule watches no share, or counts below 1.", "Watch 0 or more and less than 1.")
    splits = [split_task(task, schedule.watch, schedule.examples, sitting.seed) for task in tasks]
    rows = task_rows(tasks, [split.train for split in splits], tokenizer)
    watched = task_rows(tasks, [split.watched for split in splits], tokenizer) or rows
    tensors = {
        name: torch.nn.Parameter(tensor.to(model.device, copy=True)) for name, tensor in tensors_of(start).items()
    }
    learned = {name: tensor for name, tensor in tensors.items() if name.partition(".")[0] in PARTS[learns]}
    for name in tensors.keys() - learned.keys():
        tensors[name].requires_grad_(False)
    applied = AppliedSkills(skills_of(tensors, start.tasks, start.scaling))
    in_epoch = len(mixed_batches(rows, schedule.batch_size, "any"))

    def loss(batch: Sequence[TaskRow], draw: torch.Generator | None) -> torch.Tensor:
        applied.rows([row.task for row in batch], draw)
        mean: torch.Tensor = completion_loss(model, [row.tokens for row in batch], tokenizer.eos_token_id)
        return mean

    def step_loss(step: int, draw: torch.Generator) -> torch.Tensor:
        epoch, place = divmod(step, in_epoch)
        return loss(mixed_batches(rows, schedule.batch_size, f"{sitting.seed}:{epoch}")[place], draw)

    def held_out() -> float:
        return mean_loss(even_batches(watched, 2 * schedule.batch_size), lambda batch: loss(batch, None))

    steps = schedule.epochs * in_epoch
    how = Steps(
        steps,
        schedule.learning_rate,
        weight_decay=0.0,
        warm_up=max(1, steps // 20),
        every=schedule.look_every,
        patience=schedule.patience,
        rates={LOGITS: schedule.logit_rate},
    )
    with applied.attached(model):
        made = train_steps(
            learned,
            step_loss,
            held_out,
            how,
            sitting.seed,
            sitting.bound_seconds,
            sitting.progress,
            sitting.checkpoint_folder,
        )
    whole = {name: tensor.detach().cpu() for name, tensor in tensors.items()} | made.tensors
    sources = {task.name: (split.source, len(split.train)) for task, split in zip(tasks, splits, strict=True)}
    return TrainedSkills(skills_of(whole, start.tasks, start.scaling), made, sources)
