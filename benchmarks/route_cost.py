"""What a route costs once the query is embedded: queries a second by tasks and by adapters.

    python -m benchmarks.route_cost [--rows N] [--repeats N] [--json OUT]

exact: similarities, top 3 and their softmax as arrays (`weigh`), what a batch server needs. screened: the same from
lorauter/routing/nearest_tasks. weights: whichever of the two a router takes at so many tasks; routes: Route objects
made of those besides. recall: share of the exact top 3 that the screened has. compared: queries a second times tasks;
while it grows, cost grows less than the tasks do.

Embeddings are random unit vectors of 384 dimensions, all-MiniLM-L6-v2's, the hardest case: no task is near. Ways take
turns and the best of the repeats counts, so ratios hold on a machine that does other things besides; queries a second
hold on a quiet one only. Threads are the linear algebra's: set OMP_NUM_THREADS.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from lorauter.routing.nearest_tasks import NearestTasks
from lorauter.routing.routes import Route
from lorauter.routing.task_index import EncoderId, TaskIndex
from lorauter.routing.task_weights import TaskWeights, routes_of, weigh_tasks

DIMENSIONS, BATCH = 384, 1024
TASKS = (48, 480, 1_000, 2_000, 3_000, 10_000, 30_000)
ADAPTERS = (10, 1_000, 100_000)
CONSTANTS = (3, 0.2)  # K, τ
HEADS = (
    "tasks",
    "adapters",
    "exact_per_second",
    "screened_per_second",
    "ratio",
    "recall",
    "weights_per_second",
    "routes_per_second",
    "compared_per_second",
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=8 * BATCH)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args(arguments)
    cases = [*((tasks, 100) for tasks in TASKS), *((TASKS[0], adapters) for adapters in ADAPTERS)]
    found = []
    print("".join(f"{name.replace('_per_second', '/s'):>13}" for name in HEADS))
    for tasks, adapters in cases:
        row = measure(tasks, adapters, args.rows, args.repeats)
        found.append(row)
        print("".join(f"{row[name]:13}" for name in HEADS), flush=True)
    if args.json:
        told = {"threads": os.environ.get("OMP_NUM_THREADS"), "cores": "shared with other programs", "measured": found}
        args.json.write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")


def measure(tasks: int, adapters: int, rows: int, repeats: int) -> dict[str, float]:
    """Rates for one size of index, whose tasks publish adapters drawn from so many."""
    random = np.random.default_rng(0)
    index = _index(random, tasks, adapters)
    nearest, taken = NearestTasks(index.embeddings), NearestTasks.where_it_pays(index.embeddings)
    parts = _batches(_unit(random, rows))
    exact, screened, routes = _best(
        repeats,
        lambda: [_exact(index, part) for part in parts],
        lambda: [nearest.weigh(part, None, *CONSTANTS) for part in parts],
        lambda: [_routes(index, taken, part) for part in parts],
    )
    weights = exact if taken is None else screened
    return {
        "tasks": tasks,
        "adapters": adapters,
        "exact_per_second": round(rows / exact),
        "screened_per_second": round(rows / screened),
        "ratio": round(exact / screened, 2),
        "recall": _recall(index, nearest, parts[0]),
        "weights_per_second": round(rows / weights),
        "routes_per_second": round(rows / routes),
        "compared_per_second": round(rows / weights * tasks),
    }


def _recall(index: TaskIndex, nearest: NearestTasks, queries: npt.NDArray[np.float32]) -> float:
    found, wanted = nearest.weigh(queries, None, *CONSTANTS).tasks, _exact(index, queries).tasks
    return round(float((found[:, :, None] == wanted[:, None, :]).any(axis=1).mean()), 5)


def _exact(index: TaskIndex, queries: npt.NDArray[np.float32]) -> TaskWeights:
    return weigh_tasks(index.similarities(queries), *CONSTANTS)


def _routes(index: TaskIndex, taken: NearestTasks | None, queries: npt.NDArray[np.float32]) -> list[Route]:
    weights = _exact(index, queries) if taken is None else taken.weigh(queries, None, *CONSTANTS)
    return routes_of(weights, index.tasks, index.best)


def _index(random: np.random.Generator, tasks: int, adapters: int) -> TaskIndex:
    names = tuple(f"task-{number}" for number in range(tasks))
    best = tuple(f"org/adapter-{number}@sha" for number in random.integers(adapters, size=tasks))
    return TaskIndex("base", "sha", names, _unit(random, tasks), best, (None,) * tasks, EncoderId("", "", ""))


def _unit(random: np.random.Generator, rows: int) -> npt.NDArray[np.float32]:
    vectors = random.standard_normal((rows, DIMENSIONS), dtype=np.float32)
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


def _batches(queries: npt.NDArray[np.float32]) -> list[npt.NDArray[np.float32]]:
    return [queries[start : start + BATCH] for start in range(0, len(queries), BATCH)]


def _best(repeats: int, *ways: Callable[[], object]) -> list[float]:
    seconds: list[list[float]] = [[] for _ in ways]
    for _ in range(repeats):
        for taken, act in zip(seconds, ways, strict=True):
            start = time.perf_counter()
            act()
            taken.append(time.perf_counter() - start)
    return [min(taken) for taken in seconds]


if __name__ == "__main__":
    main()
