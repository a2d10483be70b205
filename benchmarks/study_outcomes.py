"""The outcome matrix as arrays, and how a seed deals it out.

Knows: adapters × tasks × examples, the cut of a task's examples into selection and held-out. Does not know: strategies.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from benchmarks.study_prior import read_prior
from lorauter.racing.strategies.base import Problem
from warehouse.storage.files import read_table

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Outcomes:
    """All outcomes.

    Args:
        scores: (tasks, adapters, examples), NaN beyond a task's last example.
        card_likeness, name_likeness: (tasks, adapters) how much each adapter's card, or name, resembles each task.
    """

    tasks: tuple[str, ...]
    adapters: tuple[str, ...]
    scores: Floats
    card_likeness: Floats
    name_likeness: Floats


@dataclass(frozen=True, slots=True)
class Deal:
    """One seed's replay: what strategies may see, and what they are judged by.

    Args:
        problem: with what cards say. names: (tasks, adapters) what the names say.
        selection: (tasks, adapters, examples) in the seed's order. held_out: (tasks, adapters) means of the rest.
    """

    problem: Problem
    selection: Floats
    held_out: Floats
    names: Floats


def read_outcomes(folder: Path) -> Outcomes:
    """The committed matrix."""
    table = read_table(folder / "outcomes.parquet", ["task", "adapter", "example", "score"])
    tasks, task_of = np.unique(table["task"].to_numpy(zero_copy_only=False).astype(str), return_inverse=True)
    adapters, adapter_of = np.unique(table["adapter"].to_numpy(zero_copy_only=False).astype(str), return_inverse=True)
    values = table["score"].to_numpy().astype(np.float64)
    examples = table["example"].to_numpy(zero_copy_only=False).astype(str)
    places = np.zeros(len(values), dtype=np.int64)
    for task in range(len(tasks)):
        places[task_of == task] = np.unique(examples[task_of == task], return_inverse=True)[1]
    scores = np.full((len(tasks), len(adapters), int(places.max()) + 1), np.nan)
    scores[task_of, adapter_of, places] = values
    names = tuple(map(str, tasks)), tuple(map(str, adapters))
    prior = folder / "prior.json"
    return Outcomes(*names, scores, read_prior(prior, *names), read_prior(prior, *names, of="name"))


def deal(outcomes: Outcomes, seed: int) -> Deal:
    """A seed's order of adapters and examples; the first half of each task's examples selects, the rest judges."""
    rng = np.random.default_rng(seed)
    adapters = rng.permutation(len(outcomes.adapters))
    sizes = (~np.isnan(outcomes.scores[:, 0])).sum(axis=1)
    room = sizes // 2
    selection = np.zeros((len(sizes), len(adapters), int(room.max())))
    held_out = np.zeros((len(sizes), len(adapters)))
    for task, size in enumerate(sizes.tolist()):
        order = rng.permutation(size)
        rows = outcomes.scores[task, adapters]
        selection[task, :, : room[task]] = rows[:, order[: room[task]]]
        held_out[task] = rows[:, order[room[task] :]].mean(axis=1)
    problem = Problem(room, len(adapters), outcomes.card_likeness[:, adapters])
    return Deal(problem, selection, held_out, outcomes.name_likeness[:, adapters])
