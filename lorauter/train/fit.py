"""Fits: the protocol of what is trained for a router or gate, and what it is trained from.

Knows: parts, who adds which facts. Does not know: any fit (lorauter/train/fits), where states are kept (flows/fit).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from catalog.tasks.task import Task, content_hash
from lorauter.routing.task_index import TaskIndex, TaskInputs
from lorauter.trained.grounds import Grounds
from lorauter.trained.state import TrainedState

if TYPE_CHECKING:
    from lorauter.adapters.weights import AdapterWeights
    from lorauter.engine.engine import Engine
    from lorauter.routing.encoder import Encoder

ENCODER, BASE, TRAIN, OUTCOMES = "encoder", "base", "train", "outcomes"
"""What a fit may read beside the tasks' validation splits: sentence embeddings, the base model, the tasks' training
splits, what adapters scored by example. See `Fit.reads`."""
STEPS, PATIENCE, SECONDS = "all steps", "held-out examples", "bound in seconds"
"""Why training ended."""
Progress = Callable[[int, int, float], None]
"""(step, most steps, loss): called now and then while a fit trains."""
Outcomes = Mapping[str, Mapping[str, Mapping[int, float]]]
"""task → adapter → place in the task's validation split → metric; "" is the base. Examples that chose adapters only:
none of those that report on them."""


@dataclass(frozen=True, slots=True)
class FitParts:
    """What a fit is trained from. What is a function loads on its first call.

    Args:
        index: the catalog's tasks, their embeddings, their published and declared adapters; base and its commit.
        tasks: the same tasks, in the index's order, with training and validation splits; test splits are empty.
        inputs: reads the validation inputs with their embeddings.
        encoder: loads the sentence encoder.
        pool: every admitted adapter, sorted.
        doras: those of them that are DoRA.
        read: adapter key → its weights, as they are stored, on the CPU.
        engine: loads the base, ready to answer.
        base_folder: folder of the base's files, for a model that is to be trained with gradients.
        outcomes: reads what adapters scored by example.
        device: where to train, "cpu" or "cuda".
    """

    index: TaskIndex
    tasks: tuple[Task, ...]
    inputs: Callable[[], TaskInputs]
    encoder: Callable[[], Encoder]
    pool: tuple[str, ...] = ()
    doras: frozenset[str] = frozenset()
    read: Callable[[str], AdapterWeights] | None = None
    engine: Callable[[], Engine] | None = None
    base_folder: Callable[[], Path] | None = None
    outcomes: Callable[[], Outcomes] = dict
    device: str = "cpu"


class Fit(Protocol):
    """Trains the state of one router or gate. One small file each in lorauter/train.

    The same parts, seed and machine give the same tensors, also where training was killed and goes on; a bound that
    ends training makes them depend on the machine's speed.
    """

    @property
    def name(self) -> str:
        """The router's or gate's."""

    @property
    def version(self) -> str:
        """Of its code: raised when the same parts would give another state."""

    @property
    def reads(self) -> frozenset[str]:
        """Of ENCODER, BASE, TRAIN, OUTCOMES. What is not named here may change and leave the state valid."""

    @property
    def options(self) -> Mapping[str, Any]:
        """Its constants, JSON values; part of what a state is known by."""

    def adapters(self, index: TaskIndex, pool: Sequence[str], doras: frozenset[str]) -> Sequence[str]:
        """The adapters that it reads, none for a fit of tasks alone."""

    def train(
        self, parts: FitParts, bound_seconds: float, seed: int, progress: Progress, checkpoint_folder: Path
    ) -> TrainedState:
        """Train, or go on from the folder's checkpoint.

        Args:
            parts: what to train from.
            bound_seconds: of training, counted over all that were killed; when it is spent the best so far is taken.
            seed: of every draw.
            progress: is told now and then.
            checkpoint_folder: exists, and is this fit's own; deleted by the caller when the state is stored.

        Returns:
            The state; of its facts those that the fit alone knows (losses, steps, why it ended). `trained` adds the
            others.

        Raises:
            SettingError: the parts do not suffice.
        """


@dataclass(frozen=True, slots=True)
class CatalogFacts:
    """What of a catalog decides whether a state belongs to it.

    Args:
        index: its tasks of one base.
        task_hashes: by name.
        pool: as of `FitParts`.
        doras: as of `FitParts`.
        examples: hash of the tasks' training splits; None where they are not at hand.
    """

    index: TaskIndex
    task_hashes: Mapping[str, str]
    pool: tuple[str, ...] = ()
    doras: frozenset[str] = frozenset()
    examples: str | None = None


def grounds_of(fit: Fit, published: CatalogFacts) -> Grounds:
    """What a state of a fit on a catalog stands on."""
    index = published.index
    return Grounds(
        router=fit.name,
        version=fit.version,
        base=index.base,
        base_sha=index.base_sha if fit.reads & {BASE, OUTCOMES} else "",
        encoder=index.encoder.hash if ENCODER in fit.reads else "",
        tasks={task: published.task_hashes[task] for task in sorted(index.tasks)},
        adapters=tuple(sorted(set(fit.adapters(index, published.pool, published.doras)))),
        options=dict(fit.options),
        examples=published.examples if TRAIN in fit.reads else "",
    )


def examples_hash(tasks: Sequence[Task]) -> str:
    """Of all training splits."""
    return content_hash({task.name: [example.content for example in task.train] for task in tasks}, 32)
