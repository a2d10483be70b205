"""Trains `lora_flow`: for each task, a gate a decoder block over its own adapter and those of the nearest other tasks.

Knows: which adapters a task's gate weighs, the few-shot training. Does not know: how trained gates weigh when answers
are made (lorauter/gates/lora_flow), which task a query is taken for (lorauter/routers/retrieved_gate).

    loss = cross-entropy of the answer's tokens; base and adapters frozen. W starts at 0, b so that the last candidate,
    the task's own, has weight 1: training starts at that adapter alone.

The paper has two adapters that a person chose, 200 examples, 5 epochs. Here no person chooses: the others are the
published adapters of the tasks nearest to this one. A task that publishes the base, or a DoRA, has no gate.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from catalog.errors import SnapshotError
from lorauter.routing.task_index import TaskIndex
from lorauter.train.fit import BASE, ENCODER, SECONDS, TRAIN, FitParts, Progress
from lorauter.train.gate_texts import GateText, GateTexts, by_length, drawn, gate_texts, published
from lorauter.trained.state import TrainedState

if TYPE_CHECKING:
    import torch

    from lorauter.train.gated_base import GatedBase, WeighBlock


class LoraFlowFit:
    """Gates of all tasks, one after the other.

    Args:
        options: constants that differ from the usual ones.
    """

    name = "lora_flow"
    version = "1"
    reads = frozenset({BASE, ENCODER, TRAIN})

    def __init__(self, **options: Any) -> None:
        self.options: Mapping[str, Any] = {
            "others": 2,
            "examples": 40,
            "learning_rate": 1e-3,
            "steps": 50,
            "batch": 4,
            "most_held": 8,
            "half": True,
            **options,
        }

    def adapters(self, index: TaskIndex, _pool: Sequence[str], doras: frozenset[str]) -> Sequence[str]:
        """The published ones."""
        return published(index, doras)

    def train(
        self, parts: FitParts, bound_seconds: float, seed: int, progress: Progress, checkpoint_folder: Path
    ) -> TrainedState:
        """As `Fit`. The bound is shared out evenly among the tasks that are left."""
        from lorauter.train.gate_parts import base_of

        options = self.options
        chosen = candidates_of(parts.index, parts.doras, options["others"])
        base = base_of(parts, (), options["half"])
        texts = gate_texts(parts, base.tokenizer, options["examples"], options["most_held"])
        made: list[TrainedState] = []
        for number, (task, keys) in enumerate(chosen.items()):
            place = parts.index.tasks.index(task)
            bound = (bound_seconds - sum(one.took["seconds"] for one in made)) / (len(chosen) - number)
            told = partial(_tell, progress, sum(one.facts["steps"] for one in made), len(chosen) * options["steps"])
            train = partial(self._train_task, parts, base, task, keys, texts.of(place), seed, bound, told)
            made.append(_kept(checkpoint_folder, f"task-{place}", train))
        return _joined(made, chosen, texts)

    def _train_task(
        self,
        parts: FitParts,
        loaded: GatedBase,
        task: str,
        keys: Sequence[str],
        texts: GateTexts,
        seed: int,
        bound: float,
        progress: Progress,
        folder: Path,
    ) -> TrainedState:
        from lorauter.train.gate_parts import base_of
        from lorauter.train.steps import Steps, mean_loss, train_steps

        options = self.options
        base = base_of(parts, keys, options["half"], loaded)
        gate = starting_gate(base, task)
        held = by_length(texts.held, options["batch"])

        def step(_step: int, generator: torch.Generator) -> torch.Tensor:
            return loss_of(base, gate, task, drawn(texts.train, options["batch"], generator))

        def held_out() -> float:
            return mean_loss(held, lambda batch: loss_of(base, gate, task, batch))

        how = Steps(options["steps"], options["learning_rate"], weight_decay=0.0, warm_up=3, every=10, patience=3)
        return train_steps(gate, step, held_out, how, seed, bound, progress, folder).state({})


def _tell(progress: Progress, before: int, most: int, step: int, _most: int, loss: float) -> None:
    """Tell of a task's step as one of all tasks'."""
    progress(before + step, most, loss)


def candidates_of(index: TaskIndex, doras: frozenset[str], others: int) -> dict[str, tuple[str, ...]]:
    """Task → keys of its gate's candidates, the farthest first, its own last; tasks without an own adapter are left
    out."""
    usable = set(published(index, doras))
    unit = index.embeddings / np.maximum(np.linalg.norm(index.embeddings, axis=1, keepdims=True), 1e-12)
    chosen = {}
    for place, (task, own) in enumerate(zip(index.tasks, index.best, strict=True)):
        if own not in usable:
            continue
        nearest = np.argsort(-(unit @ unit[place]), kind="stable")
        keys = dict.fromkeys([own, *(index.best[other] for other in nearest if index.best[other] in usable)])
        chosen[task] = tuple(list(keys)[: others + 1][::-1])
    return chosen


def starting_gate(base: GatedBase, task: str) -> dict[str, torch.nn.Parameter]:
    """W and b of a task at every block before training."""
    import torch

    from lorauter.gates.lora_flow import bias_name, start_of, weight_name

    width = base.model.config.hidden_size
    gate = {}
    for block in base.blocks:
        gate[weight_name(task, block)] = torch.nn.Parameter(torch.zeros(base.count, width, device=base.device))
        gate[bias_name(task, block)] = torch.nn.Parameter(start_of(base.count).to(base.device))
    return gate


def loss_of(base: GatedBase, gate: Mapping[str, torch.Tensor], task: str, texts: Sequence[GateText]) -> torch.Tensor:
    """The loss of a batch of one task."""
    from lorauter.train.token_batches import token_batch

    batch = token_batch([text.row for text in texts], base.tokenizer.eos_token_id, base.device, whole=False)
    return batch.loss(base.logits(batch, weigh_block=weigher(gate, task)))


def weigher(gate: Mapping[str, torch.Tensor], task: str) -> WeighBlock:
    """The gate of a task, as training has it."""
    import torch

    from lorauter.gates.lora_flow import bias_name, weight_name, weights_of

    def weigh(block: str, h: torch.Tensor) -> torch.Tensor:
        w, b = gate[weight_name(task, block)][None], gate[bias_name(task, block)][None]
        return weights_of(h, w, b, torch.ones_like(b, dtype=torch.bool))

    return weigh


def _kept(folder: Path, name: str, train: Callable[[Path], TrainedState]) -> TrainedState:
    """What training made, or had made before a run was killed; here its file says what it took, too."""
    try:
        done = TrainedState.read(folder, name)
        return TrainedState(done.tensors, done.facts["facts"], {"seconds": done.facts["seconds"]})
    except SnapshotError:
        own = folder / name
        own.mkdir(parents=True, exist_ok=True)
        made = train(own)
        TrainedState(made.tensors, {"facts": dict(made.facts), **made.took}).save(folder, name)
        return made


def _joined(made: Sequence[TrainedState], chosen: Mapping[str, tuple[str, ...]], texts: GateTexts) -> TrainedState:
    """One state of all tasks' gates."""
    bounded = [one for one in made if one.facts["ended"] == SECONDS]
    facts = {
        "candidates": {task: list(keys) for task, keys in chosen.items()},
        "steps": sum(one.facts["steps"] for one in made),
        "loss": {task: one.facts["loss"] for task, one in zip(chosen, made, strict=True)},
        "ended": (bounded or made)[0].facts["ended"],
        **texts.facts,
    }
    tensors = {name: tensor for one in made for name, tensor in one.tensors.items()}
    return TrainedState(tensors, facts, {"seconds": sum(one.took["seconds"] for one in made)})
