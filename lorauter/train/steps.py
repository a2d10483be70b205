"""The loop of every fit: steps of AdamW, bounded in seconds, ended by held-out examples, resumed where it was killed.

Knows: order, checkpoints, when it ends. Does not know: what is learned, from what.

Every step draws from a generator of its own, made of seed and step; a checkpoint holds parameters and moments bit for
bit. So a run that was killed and goes on makes the same steps as one that was not. Nothing is pickled.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from catalog.errors import SettingError
from lorauter.train.fit import PATIENCE, SECONDS, STEPS, Progress
from lorauter.trained.state import TrainedState
from warehouse.storage.files import write_atomically

CHECKPOINT = "steps.safetensors"
CHECKPOINT_SECONDS = 10.0
_TOLD = 64  # looks at held-out examples that the facts tell of
Text = TypeVar("Text")
LossOf = Callable[[int, torch.Generator], torch.Tensor]
"""(step, generator on the CPU) → the loss of that step's batch, with gradients."""


@dataclass(frozen=True, slots=True)
class Steps:
    """How to train.

    Args:
        steps: most steps.
        learning_rate: the highest.
        weight_decay: of AdamW.
        warm_up: steps until the rate is reached.
        cosine: whether it then falls to 0 at the last step, by a half cosine; else it stays.
        every: steps between two looks at held-out examples.
        patience: looks without a lower loss after which training ends.
        clip: most norm of a step's gradients.
        checkpoint_seconds: between two checkpoints, what a kill can lose.
        rates: the highest rate of parameters whose names begin with a word and a dot, by the word, where it is another.
    """

    steps: int
    learning_rate: float
    weight_decay: float = 0.01
    warm_up: int = 0
    cosine: bool = True
    every: int = 50
    patience: int = 5
    clip: float = 1.0
    checkpoint_seconds: float = field(default_factory=lambda: CHECKPOINT_SECONDS)
    rates: Mapping[str, float] = field(default_factory=dict)

    def highest(self, name: str) -> float:
        """The highest learning rate of a parameter."""
        return self.rates.get(name.partition(".")[0], self.learning_rate)

    def share(self, step: int) -> float:
        """Of the highest learning rate, at a step counted from 0."""
        if step < self.warm_up:
            return (step + 1) / self.warm_up
        done = (step - self.warm_up) / max(1, self.steps - self.warm_up)
        return 0.5 * (1 + math.cos(math.pi * done)) if self.cosine else 1.0


@dataclass
class _At:
    """Where training is: what a checkpoint holds beside tensors. `total`, `counted`: losses since the last look."""

    step: int = 0
    best: float = math.inf
    best_step: int = 0
    stale: int = 0
    seconds: float = 0.0
    total: float = 0.0
    counted: int = 0
    looks: list[list[float]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Learned:
    """What came out.

    Args:
        tensors: the parameters as they were at the lowest held-out loss, on the CPU.
        facts: steps, the step of the best, losses [step, of the steps, held out], why it ended.
        seconds: spent, those of killed runs included as far as checkpoints know.
    """

    tensors: dict[str, torch.Tensor]
    facts: dict[str, Any]
    seconds: float

    def state(self, facts: Mapping[str, Any]) -> TrainedState:
        """The same as a state, with further facts."""
        tensors = {name: tensor.numpy() for name, tensor in self.tensors.items()}
        return TrainedState(tensors, {**self.facts, **facts}, {"seconds": self.seconds})


def mean_loss(batches: Sequence[Sequence[Text]], loss_of: Callable[[Sequence[Text]], torch.Tensor]) -> float:
    """The mean over the texts of batches, from the mean of each batch; 0 of none."""
    total = sum(float(loss_of(batch)) * len(batch) for batch in batches)
    return total / max(1, sum(map(len, batches)))


def train_steps(
    parameters: Mapping[str, torch.nn.Parameter],
    loss_of: LossOf,
    held_out: Callable[[], float] | None,
    how: Steps,
    seed: int,
    bound_seconds: float,
    progress: Progress,
    checkpoint_folder: Path,
) -> Learned:
    """Train the parameters in place, or go on from the folder's checkpoint. The best are given back, not left in place.

    Args:
        parameters: by name, what is trained.
        loss_of: see LossOf; whatever it draws comes from its generator.
        held_out: the loss on examples that train nothing; called without gradients. None: all steps are made, and the
            last parameters are given back.
        how: see `Steps`.
        seed: of the draws.
        bound_seconds: as of `lorauter.train.fit.Fit.train`.
        progress: likewise.
        checkpoint_folder: likewise.
    """
    run = _Run(parameters, how, checkpoint_folder / CHECKPOINT)
    run.resume()
    at = run.at
    began, saved = time.monotonic() - at.seconds, time.monotonic()
    ended = STEPS
    if at.step == 0 and held_out is not None:
        run.look(held_out)
    while at.step < how.steps:
        if at.stale >= how.patience:
            ended = PATIENCE
            break
        if time.monotonic() - began >= bound_seconds:
            ended = SECONDS
            break
        run.step(loss_of, seed)
        if looked := at.step % how.every == 0 or at.step == how.steps:
            run.look(held_out)
        now = time.monotonic()
        at.seconds = now - began
        due = now - saved >= how.checkpoint_seconds
        if looked or due:
            progress(at.step, how.steps, at.best)
        if due:
            run.save()
            saved = now
    if held_out is None:
        run.keep()
    elif ended == SECONDS and at.counted:  # what was learned since the last look is not lost
        run.look(held_out)
        at.seconds = time.monotonic() - began
    facts = {"steps": at.step, "best_step": at.best_step, "loss": _told(at.looks), "ended": ended}
    return Learned(run.best, facts, at.seconds)


class _Run:
    """Parameters, optimizer and place of one training."""

    def __init__(self, parameters: Mapping[str, torch.nn.Parameter], how: Steps, path: Path) -> None:
        ordered = sorted(parameters.items(), key=lambda named: (how.highest(named[0]), named[0]))
        self.parameters, self.how, self.path, self.at = dict(ordered), how, path, _At()
        groups = groupby(ordered, key=lambda named: how.highest(named[0]))
        self._rates, alike = zip(*((rate, [p for _, p in named]) for rate, named in groups), strict=True)
        self.optimizer = torch.optim.AdamW([{"params": group} for group in alike], weight_decay=how.weight_decay)
        self.best = self._copies()

    def step(self, loss_of: LossOf, seed: int) -> None:
        """One step."""
        generator = torch.Generator().manual_seed((seed * 1_000_003 + self.at.step) % (1 << 62))
        for group, highest in zip(self.optimizer.param_groups, self._rates, strict=True):
            group["lr"] = highest * self.how.share(self.at.step)
        loss = loss_of(self.at.step, generator)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(list(self.parameters.values()), self.how.clip)
        self.optimizer.step()
        self.at.step += 1
        self.at.total += float(loss.detach())
        self.at.counted += 1

    def keep(self) -> None:
        """What is here now is the best."""
        self.at.best_step, self.best = self.at.step, self._copies()

    def look(self, held_out: Callable[[], float] | None) -> None:
        """At the held-out examples; the best parameters are kept. Raises SettingError where they give no number."""
        with torch.no_grad():
            seen = float(held_out()) if held_out else 0.0
        at = self.at
        if not math.isfinite(seen + at.total):
            raise SettingError(
                f"Training left all bounds at step {at.step}.", "Look at its examples, or choose another seed."
            )
        if seen < at.best:
            at.best, at.stale = seen, 0
            self.keep()
        elif held_out is not None:
            at.stale += 1
        if at.counted:
            at.looks.append([at.step, at.total / at.counted, seen])
        at.total, at.counted = 0.0, 0

    def save(self) -> None:
        """Write the checkpoint, whole or not at all."""
        tensors = {f"now.{name}": tensor for name, tensor in self._copies().items()}
        tensors |= {f"best.{name}": tensor for name, tensor in self.best.items()}
        states = self.optimizer.state_dict()["state"]
        for place, name in enumerate(self.parameters):
            for moment, tensor in states.get(place, {}).items():
                tensors[f"{moment}.{name}"] = tensor.detach().to("cpu").contiguous().clone()
        at = json.dumps(asdict(self.at))

        def write(part: Path) -> None:
            save_file(tensors, part, metadata={"at": at})

        write_atomically(self.path, write)

    def resume(self) -> None:
        """Go to the checkpoint, if there is one that can be read; else stay at the start."""
        try:
            with safe_open(self.path, "pt") as file:
                at = _At(**json.loads(file.metadata()["at"]))
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (FileNotFoundError, SafetensorError, OSError, KeyError, TypeError, ValueError):
            return
        moments = ("exp_avg", "exp_avg_sq", "step")
        if any(f"{kind}.{name}" not in tensors for name in self.parameters for kind in ("now", "best", *moments)):
            return
        with torch.no_grad():
            for name, parameter in self.parameters.items():
                parameter.copy_(tensors[f"now.{name}"])
        states = {
            place: {moment: tensors[f"{moment}.{name}"] for moment in moments}
            for place, name in enumerate(self.parameters)
        }
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": states, "param_groups": groups})
        self.best = {name: tensors[f"best.{name}"] for name in self.parameters}
        self.at = at

    def _copies(self) -> dict[str, torch.Tensor]:
        return {name: p.detach().to("cpu", copy=True).contiguous() for name, p in self.parameters.items()}


def _told(looks: list[list[float]]) -> list[list[float]]:
    """Looks as facts tell them: few, and rounded."""
    apart = max(1, math.ceil(len(looks) / _TOLD))
    return [[int(step), round(loss, 6), round(seen, 6)] for step, loss, seen in [*looks[::-1][::apart]][::-1]]
