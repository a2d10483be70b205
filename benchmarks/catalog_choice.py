"""Inside a task's catalog: is the adapter that was right on like examples better than the one that is best over all?

    python -m benchmarks.catalog_choice --tasks FOLDER [--encoder DIR] [--json OUT]

The outcomes are real ones (benchmarks/results/study/outcomes.parquet: 62 adapters, 4 tasks of BIG-Bench Hard, 130
examples each, every adapter on every example); FOLDER has the tasks' texts. Ten times, 60% of a task's examples choose
and the rest judge. best: the adapter of the highest mean. two_stage: as its router chooses, with catalogs of everybody
who did not better. oracle: the best adapter of each query. gain: two_stage - best, mean and standard deviation over the
splits. A race leaves far fewer adapters with all outcomes than this exhaustive run has.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq

from benchmarks.routing import packaged_encoder
from catalog.tasks.task import Example
from lorauter.routers.two_stage import Catalog, unit
from lorauter.routing.encoder import Encoder
from lorauter.routing.linear_discriminant import TextKernel, count_texts

OUTCOMES = Path(__file__).parent / "results/study/outcomes.parquet"
SPLITS, CHOOSE = 10, 0.6


def main(arguments: Sequence[str] | None = None) -> None:
    """Read, judge, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=Path, required=True, help="folder of BIG-Bench Hard's JSON files")
    parser.add_argument("--encoder", type=Path, help="folder of a sentence-transformers model")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args(arguments)
    encoder = Encoder(args.encoder or packaged_encoder())
    figures = {}
    for task, (adapters, examples, scores) in sorted(outcomes().items()):
        texts = _texts(args.tasks / f"{task}.json")
        inputs = [texts[example] for example in examples]
        kernel = TextKernel(count_texts(inputs, encoder.encode(inputs)))
        figures[task] = judged(adapters, scores, unit(kernel.own @ kernel.basis()))
        print(f"{task:22}", json.dumps(figures[task]), flush=True)
    if args.json:
        args.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


def outcomes() -> dict[str, tuple[list[str], list[str], npt.NDArray[np.float32]]]:
    """By task: adapters, ids of examples, scores (adapters, examples)."""
    rows = pq.read_table(OUTCOMES, columns=["task", "adapter", "example", "score"]).to_pylist()
    by_task: dict[str, dict[tuple[str, str], float]] = {}
    for row in rows:
        if row["adapter"]:
            by_task.setdefault(row["task"], {})[row["adapter"], row["example"]] = row["score"]
    made = {}
    for task, scores in by_task.items():
        adapters, examples = (sorted({key[side] for key in scores}) for side in (0, 1))
        table = [[scores[adapter, example] for example in examples] for adapter in adapters]
        made[task] = (adapters, examples, np.asarray(table, dtype=np.float32))
    return made


def judged(adapters: Sequence[str], scores: npt.NDArray[np.float32], points: npt.NDArray[np.float32]) -> dict[str, Any]:
    """Means over the splits. points: unit rows of the examples."""
    drawn, found = np.random.default_rng(0), []
    for _split in range(SPLITS):
        order = drawn.permutation(len(points))
        chose, judge = np.split(order, [int(CHOOSE * len(order))])
        best = int(scores[:, chose].mean(axis=1).argmax())
        rows = [best, *(row for row in range(len(adapters)) if row != best)]
        ours = Catalog(tuple(adapters[row] for row in rows), chose, scores[rows][:, chose])
        picks = [adapters.index(ours.choose(points[query] @ points.T, frozenset(adapters))) for query in judge]
        found.append([scores[best, judge].mean(), scores[picks, judge].mean(), scores[:, judge].max(axis=0).mean()])
    by_split = np.asarray(found, dtype=np.float64)
    means, gains = by_split.mean(axis=0), by_split[:, 1] - by_split[:, 0]
    named = zip(("best", "two_stage", "oracle", "gain"), (*means, gains.mean()), strict=True)
    return {name: round(float(value), 4) for name, value in named} | {"gain_deviation": round(float(gains.std()), 4)}


def _texts(path: Path) -> dict[str, str]:
    """Input by the id of its example."""
    rows = json.loads(path.read_text(encoding="utf-8"))["examples"]
    return {Example(row["input"], row["target"]).id: row["input"] for row in rows}


if __name__ == "__main__":
    main()
