"""Trains `two_stage`: a projection in which a task's inputs lie together and apart from other tasks', and the catalogs
of adapters with what they scored by example.

Knows: pairs of inputs, the contrastive loss, who is in a catalog. Does not know: how routes come of it
(lorauter/routers/two_stage).

The loss is that of MultipleNegativesRankingLoss: of a batch of pairs, one a task, each input's partner must be nearer
than all other tasks' partners. The encoder stays frozen. What is projected is not its embedding alone: on the 48 FLAN
tasks a projection of that stays near the untrained index's .65 of tasks found, one of form and meaning together
(lorauter/routing/linear_discriminant) does not.

Held-out inputs say after how many steps to stop: where the fewest of them miss their task. Then so many steps are made
again on all inputs, since twenty a task are few.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lorauter.routing.linear_discriminant import TextKernel, count_texts
from lorauter.routing.task_index import TaskIndex, check_inputs
from lorauter.train.fit import ENCODER, OUTCOMES, FitParts, Outcomes, Progress
from lorauter.train.split_inputs import held_out_of
from lorauter.trained.state import Tensors, TrainedState

if TYPE_CHECKING:
    import torch

LEAST_TASKS, LEAST_INPUTS = 2, 3  # a pair trains, one input ends training
MOST_TASKS = 64
"""Pairs of a batch."""
TIE = 1e-3
"""What their loss counts beside the share of held-out inputs whose task is missed."""


class TwoStageFit:
    """A linear head on inner products of form and meaning, AdamW; a share of the inputs ends training."""

    name = "two_stage"
    version = "1"
    reads = frozenset({ENCODER, OUTCOMES})
    options: Mapping[str, Any] = {
        "start": 0.1,
        "scale": 20.0,
        "learning_rate": 2e-4,
        "weight_decay": 1.0,
        "steps": 300,
        "most_tasks": MOST_TASKS,
    }

    def adapters(self, _index: TaskIndex, pool: Sequence[str], _doras: frozenset[str]) -> Sequence[str]:
        """All: any may be in a catalog."""
        return pool

    def train(
        self, parts: FitParts, bound_seconds: float, seed: int, progress: Progress, checkpoint_folder: Path
    ) -> TrainedState:
        """As `Fit`."""
        import torch
        import torch.nn.functional as F  # noqa: N812

        from lorauter.train.steps import Learned, Steps, train_steps

        options, inputs = self.options, parts.inputs()
        check_inputs(self.name, parts.index, inputs, LEAST_TASKS, LEAST_INPUTS)
        kernel = TextKernel(count_texts(inputs.texts, inputs.embeddings))
        basis = kernel.basis()
        points = torch.from_numpy((kernel.own @ basis).astype(np.float32)).to(parts.device)
        held = np.asarray(held_out_of(inputs))
        owners = torch.from_numpy(inputs.owners).to(parts.device)

        def learn(rows: Any, how: Steps, folder: Path, ends: bool, seconds: float, before: int = 0) -> Learned:
            """A head learned from some inputs; the others end it, or all steps are made, after some before."""
            tasks = [np.flatnonzero((inputs.owners == task) & rows) for task in range(len(parts.index.tasks))]
            head = torch.nn.Parameter((options["start"] * torch.eye(points.shape[1])).to(parts.device))
            seen = torch.from_numpy(rows).to(parts.device)

            def loss_of(_step: int, generator: torch.Generator) -> torch.Tensor:
                ours = torch.randperm(len(tasks), generator=generator)[:MOST_TASKS].tolist()
                pairs = torch.tensor([_pair(tasks[task], generator) for task in ours]).to(parts.device)
                one, other = (F.normalize(points[pairs[:, side]] @ head, dim=1) for side in (0, 1))
                own = torch.arange(len(pairs), device=parts.device)
                likeness = options["scale"] * one @ other.T
                return (F.cross_entropy(likeness, own) + F.cross_entropy(likeness.T, own)) / 2

            def held_out() -> float:
                known, asked = (F.normalize(points[part] @ head, dim=1) for part in (seen, ~seen))
                sums = torch.zeros(len(tasks), known.shape[1], device=known.device).index_add_(0, owners[seen], known)
                likeness = options["scale"] * asked @ F.normalize(sums, dim=1).T
                missed = (likeness.argmax(dim=1) != owners[~seen]).float().mean()
                return float(missed + TIE * F.cross_entropy(likeness, owners[~seen]))

            folder.mkdir(parents=True, exist_ok=True)
            ending = held_out if ends else None

            def told(step: int, most: int, loss: float) -> None:
                progress(before + step, before + most, loss)

            return train_steps({"head": head}, loss_of, ending, how, seed, seconds, told, folder)

        how = Steps(
            options["steps"],
            options["learning_rate"],
            options["weight_decay"],
            warm_up=10,
            cosine=False,
            every=25,
            patience=6,
        )
        tried = learn(~held, how, checkpoint_folder / "tried", True, bound_seconds / 2)
        again = replace(how, steps=max(tried.facts["best_step"], 1))
        learned = learn(
            held | True, again, checkpoint_folder / "all", False, bound_seconds - tried.seconds, tried.facts["steps"]
        )
        projection = (basis @ learned.tensors["head"].numpy().astype(np.float64)).astype(np.float32)
        catalogs, scores = _catalogs(parts.index, parts.outcomes())
        facts = {**tried.facts, "trained_on": len(held), "held_out": int(held.sum()), "catalogs": catalogs}
        seconds = tried.seconds + learned.seconds
        return TrainedState({"projection": projection, **scores}, facts, {"seconds": seconds})


def _pair(places: Any, generator: torch.Generator) -> tuple[int, int]:
    """Two inputs of a task."""
    import torch

    first, second = torch.randperm(len(places), generator=generator)[:2].tolist()
    return int(places[first]), int(places[second])


def _catalogs(index: TaskIndex, outcomes: Outcomes) -> tuple[dict[str, list[str]], Tensors]:
    """Adapters by task, the published one first, and the tensors of examples and scores, numbered by task.

    In a catalog are those that met all examples which the published one met, and did not better on them.
    """
    catalogs: dict[str, list[str]] = {}
    tensors: dict[str, Any] = {}
    for task, best in sorted(zip(index.tasks, index.best, strict=True)):
        met = outcomes.get(task, {})
        places = sorted(met.get(best, {}))
        if not best or not places:
            continue
        scores = {key: [own[place] for place in places] for key, own in met.items() if own.keys() >= {*places}}
        most = sum(scores[best])
        others = sorted(key for key, own in scores.items() if key not in ("", best) and sum(own) <= most)
        number = len(catalogs)
        catalogs[task] = [best, *others]
        tensors[f"examples.{number}"] = np.asarray(places, dtype=np.int64)
        tensors[f"scores.{number}"] = np.asarray([scores[key] for key in catalogs[task]], dtype=np.float32)
    return catalogs, tensors
