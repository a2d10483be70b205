"""Trains the skills and logits of Poly and MHR (arXiv 2211.03831) on many tasks at once, over one frozen base.

Knows: the objective, its optimisation, when it ends, what few-shot adaptation trains. Does not know: where tasks come
from, where skills are kept, what they are worth.

The objective is the language model's cross-entropy over the answers of all tasks, weights drawn (skill_forward). Logits
learn at a rate of their own, 0.1 in the authors' code: at the skills' rate they would hardly leave their start.
Of every task's validation set a share is watched: what is given back is what had the lowest loss there.

The same seed, machine and count of threads give the same bytes, also where a run was stopped and went on: all that is
drawn at a step is drawn from the seed and the step. A run that its bound in seconds ends gives what it had by then.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from catalog.errors import SettingError
from catalog.tasks.task import Task, content_hash
from lorauter.adapters.skills import Skills, Tensors, mean_skill, new_skills, skills_of, tensors_of, with_fresh_logits
from lorauter.train.adapters import QV, completion_loss, warm_then_linear
from lorauter.train.skill_checkpoint import Checkpoint, Progress
from lorauter.train.skill_forward import AppliedSkills, shapes_of
from lorauter.train.skill_rows import Source, TaskRow, even_batches, mixed_batches, split_task, task_rows

Learns = Literal["all", "z", "mu"]
Ended = Literal["epochs", "patience", "seconds"]
PARTS: dict[Learns, tuple[str, ...]] = {"all": ("a", "b", "logits"), "z": ("logits",), "mu": ("a", "b")}


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
        examples: at most so many a task; None takes all.
        watch: share of each validation set that is watched; 0: nothing is, and the last step is given back.
        look_every: steps between two looks at it, each of which writes the checkpoint.
        patience: looks without a lower loss that end the training.
        seconds: bound over all sittings; the last look comes on top. None: no bound.
        seed: of all that is drawn.
    """

    epochs: int = 4
    learning_rate: float = 2e-3
    logit_rate: float = 0.1
    batch_size: int = 16
    examples: int | None = None
    watch: float = 0.25
    look_every: int = 50
    patience: int = 4
    seconds: float | None = None
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Look:
    """Where a run stands, for who shows it.

    Args:
        loss: of the last step.
        watched: mean loss of the watched rows; nan where none are.
        seconds: spent so far, earlier sittings included.
    """

    step: int
    steps: int
    loss: float
    watched: float
    seconds: float


@dataclass(frozen=True, slots=True, eq=False)
class TrainedSkills:
    """Skills with how they came about.

    Args:
        sources: the split that each task was trained on, and how many rows of it.
    """

    skills: Skills
    steps: int
    watched: float
    seconds: float
    ended: Ended
    sources: dict[str, tuple[Source, int]]


def train_skills(
    model: Any,
    tokenizer: Any,
    base: str,
    tasks: Sequence[Task],
    shape: SkillShape,
    schedule: Schedule,
    checkpoint: Path | None = None,
    tell: Callable[[Look], None] = lambda look: None,
) -> TrainedSkills:
    """Skills and logits of many tasks, from nothing.

    Args:
        model: a frozen base, as `frozen_base` loads it.
        base: its name and commit: a checkpoint of another one is refused.
        checkpoint: a file to go on from and to write; the caller deletes it.
        tell: called at every look.

    Raises:
        SettingError: nothing to learn from, a shape that the base does not have, or a checkpoint of another run.
    """
    start = new_skills(
        shapes_of(model, shape.targets),
        [task.name for task in tasks],
        skills=shape.skills,
        heads=shape.heads,
        rank=shape.rank,
        scaling=shape.scaling,
        seed=schedule.seed,
    )
    return _Run(model, tokenizer, base, tasks, start, "all", schedule, checkpoint, tell).trained()


def adapt_skills(
    model: Any,
    tokenizer: Any,
    base: str,
    task: Task,
    skills: Skills,
    learns: Learns,
    schedule: Schedule,
    checkpoint: Path | None = None,
    tell: Callable[[Look], None] = lambda look: None,
) -> TrainedSkills:
    """Trained skills fitted to one further task.

    Args:
        learns: "z": fresh logits, which alone are trained; "mu": no logits, the mean of the skills is trained as one
            LoRA (uniform weights); "all": fresh logits and the skills.

    Raises: as `train_skills`.
    """
    names = [task.name]
    start = mean_skill(skills, names) if learns == "mu" else with_fresh_logits(skills, names, schedule.seed)
    return _Run(model, tokenizer, base, [task], start, learns, schedule, checkpoint, tell).trained()


class _Run:
    """One run, from its rows to its skills."""

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        base: str,
        tasks: Sequence[Task],
        start: Skills,
        learns: Learns,
        schedule: Schedule,
        checkpoint: Path | None,
        tell: Callable[[Look], None],
    ) -> None:
        if not 0 <= schedule.watch < 1 or min(schedule.epochs, schedule.batch_size, schedule.look_every) < 1:
            raise SettingError("The schedule watches no share, or counts below 1.", "Watch 0 or more and less than 1.")
        self._model, self._pad, self._schedule, self._tell = model, tokenizer.eos_token_id, schedule, tell
        splits = [split_task(task, schedule.watch, schedule.examples, schedule.seed) for task in tasks]
        self._sources = {task.name: (s.source, len(s.train)) for task, s in zip(tasks, splits, strict=True)}
        self._rows = task_rows(tasks, [split.train for split in splits], tokenizer)
        watched = task_rows(tasks, [split.watched for split in splits], tokenizer)
        self._watched = even_batches(watched, 2 * schedule.batch_size)
        tensors = {name: tensor.to(model.device).clone() for name, tensor in tensors_of(start).items()}
        self._skills = skills_of(tensors, start.tasks, start.scaling)
        self._learned = {n: t.requires_grad_() for n, t in tensors.items() if n.partition(".")[0] in PARTS[learns]}
        self._applied = AppliedSkills(self._skills)
        self._checkpoint = None if checkpoint is None else Checkpoint(checkpoint)
        self._steps = schedule.epochs * len(mixed_batches(self._rows, schedule.batch_size, "count"))
        self._name = content_hash(self._decides(base, learns, start))

    def _decides(self, base: str, learns: Learns, start: Skills) -> list[object]:
        """All that decides the result, but for the bound in seconds, which a later sitting may raise."""
        tensors = hashlib.sha256()
        for name, tensor in tensors_of(start).items():
            tensors.update(f"{name} {tuple(tensor.shape)} ".encode() + tensor.numpy().tobytes())
        rows = [[list(row.tokens), row.task] for row in self._rows]
        watched = [list(row.tokens) for batch in self._watched for row in batch]
        schedule = {**asdict(self._schedule), "seconds": None}
        return [base, learns, schedule, start.tasks, start.scaling, tensors.hexdigest(), rows, watched]

    def trained(self) -> TrainedSkills:
        optimizer, rates = self._optimizer()
        progress, best = Progress(self._name), Tensors()
        if self._checkpoint is not None:
            progress, best = self._checkpoint.load(self._name, self._learned, optimizer)
        begun, spent = time.monotonic(), progress.seconds
        ended: Ended = "epochs"
        with self._applied.attached(self._model):
            while progress.step < self._steps and progress.since_best < self._schedule.patience:
                loss = self._step(progress.step, optimizer, rates)
                progress.step += 1
                progress.seconds = spent + time.monotonic() - begun
                over = self._schedule.seconds is not None and progress.seconds >= self._schedule.seconds
                if over or progress.step % self._schedule.look_every == 0 or progress.step == self._steps:
                    watched = self._look(progress, best)
                    progress.seconds = spent + time.monotonic() - begun
                    if self._checkpoint is not None:
                        self._checkpoint.save(progress, self._learned, best, optimizer)
                    self._tell(Look(progress.step, self._steps, loss, watched, progress.seconds))
                if over:
                    ended = "seconds"
                    break
        if ended == "epochs" and progress.step < self._steps:
            ended = "patience"
        return TrainedSkills(
            self._given(best), progress.step, progress.best, progress.seconds, ended, dict(self._sources)
        )

    def _optimizer(self) -> tuple[torch.optim.Optimizer, list[float]]:
        """AdamW over what learns, with each group's full rate."""
        groups = [
            ([t for n, t in self._learned.items() if n.startswith("logits.") is logits], rate)
            for logits, rate in ((False, self._schedule.learning_rate), (True, self._schedule.logit_rate))
        ]
        kept = [(tensors, rate) for tensors, rate in groups if tensors]
        optimizer = torch.optim.AdamW([{"params": tensors, "lr": rate} for tensors, rate in kept], weight_decay=0.0)
        return optimizer, [rate for _, rate in kept]

    def _step(self, step: int, optimizer: torch.optim.Optimizer, rates: Sequence[float]) -> float:
        batch = self._batch(step)
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = rate * warm_then_linear(step, self._steps)
        loss = self._loss(batch, torch.Generator().manual_seed(self._schedule.seed * 1_000_003 + step))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(list(self._learned.values()), 1.0)
        optimizer.step()
        return float(loss.detach())

    def _batch(self, step: int) -> list[TaskRow]:
        epoch, place = divmod(step, self._steps // self._schedule.epochs)
        return mixed_batches(self._rows, self._schedule.batch_size, f"{self._schedule.seed}:{epoch}")[place]

    def _loss(self, batch: Sequence[TaskRow], draw: torch.Generator | None) -> Any:
        self._applied.rows([row.task for row in batch], draw)
        return completion_loss(self._model, [row.tokens for row in batch], self._pad)

    def _look(self, progress: Progress, best: Tensors) -> float:
        """The watched loss; what has the lowest so far is kept in `best`."""
        if not self._watched:
            return float("nan")
        with torch.no_grad():
            losses = [(float(self._loss(batch, None)), len(batch)) for batch in self._watched]
        watched = sum(loss * rows for loss, rows in losses) / sum(rows for _, rows in losses)
        progress.since_best += 1
        if watched < progress.best:
            progress.best, progress.since_best = watched, 0
            best |= {name: tensor.detach().clone() for name, tensor in self._learned.items()}
        return watched

    def _given(self, best: Tensors) -> Skills:
        """The best, on the CPU, without gradients; the last where nothing was watched."""
        tensors = {name: tensor.detach() for name, tensor in tensors_of(self._skills).items()} | best
        return skills_of({n: t.cpu().clone() for n, t in tensors.items()}, self._skills.tasks, self._skills.scaling)
