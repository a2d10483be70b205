"""Contexts and loads of the outcome matrix: what `benchmarks.polar` needs beside the scores, made once and committed.

Knows: the study's examples, the demo's encoder and base, the bank. Does not know: bandits.

    python -m benchmarks.polar_contexts --work FOLDER      # writes benchmarks/results/study/contexts.json

A context is the input's sentence embedding, projected on the first principal components of all inputs, and brought to
length 1; numbers alone are kept, no text. A load is an adapter's files read, folded and put into the bank, the median
of several. The study's own trained adapters are not at hand: each takes the load of the demo pool's adapters of its
rank and target modules, or of the nearest rank.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.study_outcomes import read_outcomes
from benchmarks.study_pool import KINDS, OWN, recipes
from benchmarks.study_tasks import DESCRIPTIONS, default_folder, read_study_tasks
from flows.demo.base import export_base
from flows.demo.build_pool import HUB, POOL_RECIPES
from flows.demo.world import ENCODER_ID, build_world
from lorauter.adapters.weights import JUDGED
from lorauter.engine.engine import Engine
from lorauter.routing.encoder import Encoder
from lorauter.train.adapters import Recipe
from warehouse.storage.files import write_text

STUDY = Path(__file__).parent / "results" / "study"
NAME = "contexts.json"
COMPONENTS = 8
REPEATS = 5
Shape = tuple[int, tuple[str, ...]]


def contexts(world: Path, bbh: Path, tasks: Sequence[str]) -> dict[str, Any]:
    """Task → example → coordinates, and the share of the variance that they hold."""
    studied = read_study_tasks(bbh, tasks)
    owners = [(task.name, e.id) for task in studied for e in task.validation]
    vectors = Encoder(world / ENCODER_ID, device="cpu").encode([e.input for task in studied for e in task.validation])
    centred = vectors.astype(np.float64) - vectors.mean(axis=0, dtype=np.float64)
    left, spread, _right = np.linalg.svd(centred, full_matrices=False)
    found = left[:, :COMPONENTS] * spread[:COMPONENTS]
    found /= np.linalg.norm(found, axis=1, keepdims=True)
    places: dict[str, dict[str, list[float]]] = {name: {} for name in tasks}
    for (task, example), row in zip(owners, found, strict=True):
        places[task][example] = [round(value, 4) for value in row.tolist()]
    share = float((spread[:COMPONENTS] ** 2).sum() / (spread**2).sum())
    return {"encoder": ENCODER_ID, "variance": round(share, 3), "contexts": places}


def loads(base: Path, adapters: Sequence[str], tasks: Sequence[str]) -> dict[str, float]:
    """Adapter → ms of a load; the base alone has none."""
    trained = [*recipes(tuple(DESCRIPTIONS), (*OWN, *KINDS, "multi")), *recipes(tasks, ["multi"])]
    recipes_of = {recipe.name: recipe for recipe in (*POOL_RECIPES, *trained)}
    measured = _measured(base, [recipe for recipe in POOL_RECIPES if recipe.name in adapters])
    by_shape: dict[Shape, list[float]] = {}
    for name, seconds in measured.items():
        by_shape.setdefault(_shape(recipes_of[name]), []).append(seconds)
    return {
        name: round(1e3 * (measured.get(name) or _alike(by_shape, _shape(recipes_of[name]))), 2)
        for name in adapters
        if name
    }


def _shape(recipe: Recipe) -> Shape:
    return recipe.rank, recipe.target_modules


def _alike(by_shape: dict[Shape, list[float]], wanted: Shape) -> float:
    same = [shape for shape in by_shape if shape[1] == wanted[1]]
    nearest = min(same, key=lambda shape: (abs(shape[0] - wanted[0]), shape))
    return statistics.median(by_shape[nearest])


def _measured(base: Path, pool: Sequence[Recipe]) -> dict[str, float]:
    engine = Engine(base, device="cpu", capacity=1, passing=JUDGED)
    folders = {recipe.name: HUB / recipe.name / recipe.subfolder for recipe in pool}
    taken: dict[str, list[float]] = {name: [] for name in folders}
    for _repeat in range(REPEATS):
        for name, folder in folders.items():  # a capacity of 1: each one drops the one before
            began = time.perf_counter()
            engine.bank.ensure([name], {name: folder}.__getitem__)
            taken[name].append(time.perf_counter() - began)
    return {name: statistics.median(seconds) for name, seconds in taken.items()}


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bbh", type=Path, default=default_folder())
    parser.add_argument("--work", type=Path, required=True, help="folder for the encoder and the exported base")
    args = parser.parse_args()
    outcomes = read_outcomes(STUDY)
    found = contexts(build_world(args.work / "world", small=True), args.bbh, outcomes.tasks)
    found["loads_ms"] = loads(export_base(args.work / "base"), outcomes.adapters, outcomes.tasks)
    write_text(STUDY / NAME, json.dumps(found, separators=(",", ":"), sort_keys=True) + "\n")
    told = sorted(found["loads_ms"].values())
    print(f"{len(told)} loads of {told[0]} to {told[-1]} ms; {found['variance']:.0%} of the variance kept")


if __name__ == "__main__":
    main()
