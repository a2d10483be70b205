"""What a route costs once the query is embedded: queries a second by tasks and by adapters.

    python -m benchmarks.route_cost [--rows N] [--repeats N] [--json OUT]

weights: similarities, top 3 and their softmax as arrays (`weigh`), what a batch server needs. routes: Route objects
made of those besides. Embeddings are random unit vectors of 384 dimensions, all-MiniLM-L6-v2's; the best of the
repeats counts. Threads are the linear algebra's: set OMP_NUM_THREADS.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from lorauter.routing import Route
from lorauter.task_index import EncoderId, TaskIndex
from lorauter.task_weights import routes_of, weigh_tasks

DIMENSIONS, BATCH = 384, 1024
TASKS = (48, 480, 1_000, 3_000, 10_000)
ADAPTERS = (10, 1_000, 100_000)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=8 * BATCH)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args(arguments)
    cases = [*((tasks, 100) for tasks in TASKS), *((TASKS[0], adapters) for adapters in ADAPTERS)]
    found = []
    print(f"{'tasks':>8}{'adapters':>10}{'weights/s':>12}{'routes/s':>12}")
    for tasks, adapters in cases:
        row = measure(tasks, adapters, args.rows, args.repeats)
        found.append(row)
        print(f"{tasks:8}{adapters:10}{row['weights_per_second']:12.0f}{row['routes_per_second']:12.0f}", flush=True)
    if args.json:
        args.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


def measure(tasks: int, adapters: int, rows: int, repeats: int) -> dict[str, float]:
    """Rates for one size of index, whose tasks publish adapters drawn from so many."""
    random = np.random.default_rng(0)
    index = _index(random, tasks, adapters)
    queries = _unit(random, rows)
    weights = _best(lambda: [_weights(index, part) for part in _batches(queries)], repeats)
    routes = _best(lambda: [_routes(index, part) for part in _batches(queries)], repeats)
    return {
        "tasks": tasks,
        "adapters": adapters,
        "weights_per_second": round(rows / weights),
        "routes_per_second": round(rows / routes),
    }


def _weights(index: TaskIndex, queries: npt.NDArray[np.float32]) -> object:
    return weigh_tasks(index.similarities(queries), 3, 0.2)


def _routes(index: TaskIndex, queries: npt.NDArray[np.float32]) -> list[Route]:
    return routes_of(weigh_tasks(index.similarities(queries), 3, 0.2), index.tasks, index.best)


def _index(random: np.random.Generator, tasks: int, adapters: int) -> TaskIndex:
    names = tuple(f"task-{number}" for number in range(tasks))
    best = tuple(f"org/adapter-{number}@sha" for number in random.integers(adapters, size=tasks))
    return TaskIndex("base", "sha", names, _unit(random, tasks), best, (None,) * tasks, EncoderId("", "", ""))


def _unit(random: np.random.Generator, rows: int) -> npt.NDArray[np.float32]:
    vectors = random.standard_normal((rows, DIMENSIONS), dtype=np.float32)
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


def _batches(queries: npt.NDArray[np.float32]) -> list[npt.NDArray[np.float32]]:
    return [queries[start : start + BATCH] for start in range(0, len(queries), BATCH)]


def _best(act: Callable[[], object], repeats: int) -> float:
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        act()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


if __name__ == "__main__":
    main()
