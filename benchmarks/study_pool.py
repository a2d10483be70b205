"""The study's pool: adapters of many qualities for tasks of BIG-Bench Hard, trained by the demo's own trainer.

Knows: the recipes of each kind, which of them are there already, how the rest is shared among processes.
Does not know: how an adapter is trained (lorauter/train) or judged (study_matrix, study).

    python -m benchmarks.study_pool --out FOLDER --kinds strong                      # first: what can be learned?
    python -m benchmarks.study_matrix --pool FOLDER --own                            # prints the tasks that can
    python -m benchmarks.study_pool --out FOLDER --kinds long --tasks C,D,…          # and with four times the steps?
    python -m benchmarks.study_pool --out FOLDER --tasks A,B,…                       # then: all kinds for those

An adapter that exists is not trained again. `--part 0/2` and `--part 1/2` are two processes that share the work.
A line of JSON a finished adapter goes to stdout, what is left to stderr.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks.study_tasks import DESCRIPTIONS, default_folder, read_study_tasks
from catalog.tasks.task import Task
from flows.demo.base import BASE_ID, export_base
from lorauter.train.adapters import ATTENTION, Recipe, train

OWN = {
    "strong": Recipe("{task}-r8", ("{task}",), rank=8, epochs=6),
    "long": Recipe(
        "{task}-long", ("{task}",), rank=16, target_modules=ATTENTION, epochs=12, learning_rate=1e-3, batch_size=8
    ),
}
"""What a task's own adapter may be; the long recipe is for tasks that the short one does not learn."""
KINDS = {
    "strong": OWN["strong"],
    "rival": Recipe("{task}-attention", ("{task}",), rank=8, target_modules=ATTENTION, epochs=4, seed=1),
    "second": Recipe("{task}-r16", ("{task}",), rank=16, alpha=32, epochs=4, learning_rate=1e-3, seed=6),
    "middling": Recipe("{task}-r4", ("{task}",), rank=4, epochs=3, learning_rate=1e-3, seed=2),
    "weak": Recipe("{task}-few", ("{task}",), rank=4, epochs=4, examples=24, seed=3),
    "early": Recipe("{task}-one-epoch", ("{task}",), rank=8, epochs=1, seed=7),
    "shuffled": Recipe("{task}-permuted", ("{task}",), rank=4, epochs=4, shuffled_labels=True, seed=4),
}
"""One adapter of each kind a task; `{task}` stands for its name."""


def recipes(tasks: Sequence[str], kinds: Iterable[str]) -> list[Recipe]:
    """Every kind's recipe for every task, and with "multi" one for each task with its neighbour."""
    found = []
    for kind in kinds:
        if kind == "multi":
            found += [_both(first, second) for first, second in _pairs(tasks)]
        else:
            found += [_filled((OWN | KINDS)[kind], task) for task in tasks]
    return found


def _filled(recipe: Recipe, task: str) -> Recipe:
    return replace(recipe, name="study/" + recipe.name.format(task=task).replace("_", "-"), tasks=(task,))


def _both(first: str, second: str) -> Recipe:
    name = f"study/{first}-and-{second}".replace("_", "-")
    return Recipe(name, (first, second), rank=8, epochs=4, seed=5)


def _pairs(tasks: Sequence[str]) -> Iterator[tuple[str, str]]:
    ordered = sorted(tasks)
    return zip(ordered[::2], ordered[1::2], strict=False)


def build(out: Path, base: Path, wanted: Sequence[Recipe], tasks: Sequence[Task]) -> None:
    """Train what is missing, short prompts first, and say what is left after each."""
    missing = [recipe for recipe in wanted if not (out / recipe.name).exists()]
    work = {recipe.name: _work(recipe, tasks) for recipe in missing}
    done, began = 0, time.monotonic()
    for recipe in sorted(missing, key=lambda r: work[r.name]):
        started = time.monotonic()
        loss = train(base, BASE_ID, recipe, tasks, out / recipe.name)
        seconds = time.monotonic() - started
        print(json.dumps({"adapter": recipe.name, "loss": round(loss, 4), "seconds": round(seconds, 1)}), flush=True)
        done += work[recipe.name]
        left = (sum(work.values()) - done) * (time.monotonic() - began) / done
        print(f"about {left / 60:.0f} min left", file=sys.stderr, flush=True)


def _work(recipe: Recipe, tasks: Sequence[Task]) -> int:
    """Characters that training reads: what its time grows with."""
    share = 1 + len(recipe.target_modules) / 10
    rows = [e for task in tasks if task.name in recipe.tasks for e in task.train[: recipe.examples]]
    return int(recipe.epochs * share * sum(len(e.input) + 40 for e in rows))


def names(text: str) -> list[str]:
    """Parts of a text with commas."""
    return [part for part in text.split(",") if part]


def main() -> None:
    """The command line."""
    import torch

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bbh", type=Path, default=default_folder())
    parser.add_argument("--out", type=Path, required=True, help="folder of the pool, outside the repository")
    parser.add_argument("--base", type=Path, help="folder of the exported base; OUT/base where left out")
    parser.add_argument("--tasks", default=",".join(DESCRIPTIONS))
    parser.add_argument("--kinds", default=",".join((*KINDS, "multi")))
    parser.add_argument("--part", default="0/1", help="this process's share: 0/2 and 1/2 are two halves")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    part, parts = map(int, args.part.split("/"))
    tasks = read_study_tasks(args.bbh)
    wanted = recipes(names(args.tasks), names(args.kinds))[part::parts]
    build(args.out / "hub", export_base(args.base or args.out / "base"), wanted, tasks)


if __name__ == "__main__":
    main()
