"""Trains `dlp_lora`: a perceptron of four layers and about 5 M parameters tells tasks apart by sentence embeddings.

Knows: the network, its examples, cross-entropy. Does not know: what probabilities weigh (lorauter/routers/dlp_lora).

The paper has the perceptron and about 5 M parameters; its published code trains a small encoder instead, at 1e-5 on 256
tokens. Ours reads the frozen encoder's embedding; widths and rate are our choice. Each class counts alike, however many
examples it has.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from catalog.errors import SettingError
from lorauter.routing.task_index import TaskIndex
from lorauter.train.fit import ENCODER, TRAIN, FitParts, Progress
from lorauter.trained.state import TrainedState

if TYPE_CHECKING:
    import torch

WIDTH = 1472
MOST_TRAIN = 200
"""Training examples of a task that are embedded, the first ones."""


class DlpLoraFit:
    """Cross-entropy of the task, AdamW; a share of the validation inputs ends training."""

    name = "dlp_lora"
    version = "1"
    reads = frozenset({ENCODER, TRAIN})
    options: Mapping[str, Any] = {
        "width": WIDTH,
        "layers": 4,
        "dropout": 0.2,
        "learning_rate": 5e-4,
        "weight_decay": 0.01,
        "batch": 64,
        "steps": 400,
        "most_train": MOST_TRAIN,
    }

    def adapters(self, _index: TaskIndex, _pool: Sequence[str], _doras: frozenset[str]) -> Sequence[str]:
        """None: it is about tasks."""
        return ()

    def train(
        self, parts: FitParts, bound_seconds: float, seed: int, progress: Progress, checkpoint_folder: Path
    ) -> TrainedState:
        """As `Fit`."""
        import torch
        import torch.nn.functional as F  # noqa: N812

        from lorauter.train.steps import Steps, train_steps

        options = self.options
        seen, held = _examples(parts)
        widths = [seen[0].shape[1], *[options["width"]] * 3, len(parts.index.tasks)]
        network = _network(widths, seed).to(parts.device)
        x, y, weight = (torch.from_numpy(part).to(parts.device) for part in seen)
        held_x, held_y, held_weight = (torch.from_numpy(part).to(parts.device) for part in held)

        def loss_of(_step: int, generator: torch.Generator) -> torch.Tensor:
            rows = torch.multinomial(weight.cpu(), options["batch"], replacement=True, generator=generator)
            kept = (torch.rand(3, len(rows), options["width"], generator=generator) >= options["dropout"]).to(
                parts.device
            )
            hidden = x[rows.to(parts.device)]
            for layer, keep in zip(network[:-1], kept, strict=True):
                hidden = F.relu(layer(hidden)) * keep / (1 - options["dropout"])
            return F.cross_entropy(network[-1](hidden), y[rows.to(parts.device)])

        def held_out() -> float:
            hidden = held_x
            for layer in network[:-1]:
                hidden = F.relu(layer(hidden))
            losses = F.cross_entropy(network[-1](hidden), held_y, reduction="none")
            return float((losses * held_weight).sum() / held_weight.sum())

        how = Steps(
            options["steps"], options["learning_rate"], options["weight_decay"], warm_up=20, every=20, patience=4
        )
        named = {f"layers.{name}": parameter for name, parameter in network.named_parameters()}
        learned = train_steps(named, loss_of, held_out, how, seed, bound_seconds, progress, checkpoint_folder)
        return learned.state({"outputs": list(parts.index.tasks), "trained_on": len(x), "held_out": len(held_x)})


def _network(widths: Sequence[int], seed: int) -> torch.nn.ModuleList:
    """Linear layers; drawn from a generator of their own, so that no other draw of the process matters."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    layers = torch.nn.ModuleList()
    for inner, outer in pairwise(widths):
        layer = torch.nn.Linear(inner, outer)
        with torch.no_grad():
            bound = (6.0 / inner) ** 0.5  # He's for ReLU
            layer.weight.copy_((torch.rand(outer, inner, generator=generator) * 2 - 1) * bound)
            layer.bias.zero_()
        layers.append(layer)
    return layers


def _examples(parts: FitParts) -> tuple[tuple[Any, Any, Any], tuple[Any, Any, Any]]:
    """Embedding, task and weight of examples that train, and of those that end training."""
    from lorauter.train.split_inputs import held_out_of

    inputs = parts.inputs()
    if not np.ptp(inputs.owners):
        raise SettingError(
            "The router dlp_lora needs 2 tasks to tell apart.", "Add some with `lorauter tasks add` and refresh."
        )
    held = np.asarray(held_out_of(inputs))
    vectors, owners = [inputs.embeddings[~held]], [inputs.owners[~held]]
    texts = [(place, e.input) for place, task in enumerate(parts.tasks) for e in task.train[:MOST_TRAIN]]
    if texts:
        vectors.append(parts.encoder().encode([text for _, text in texts]))
        owners.append(np.asarray([place for place, _ in texts]))
    return _weighed(np.concatenate(vectors), np.concatenate(owners)), _weighed(
        inputs.embeddings[held], inputs.owners[held]
    )


def _weighed(vectors: Any, owners: Any) -> tuple[Any, Any, Any]:
    counts = np.bincount(owners)
    return vectors.astype(np.float32), owners.astype(np.int64), (1.0 / counts[owners]).astype(np.float32)
