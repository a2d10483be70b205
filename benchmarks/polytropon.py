"""Are skills worth having? MHR, Poly and one shared LoRA of as many parameters, on tasks of training and on new ones.

Knows: what is trained, on which tasks, what is compared. Does not know: how skills are trained (lorauter/train).

    python -m benchmarks.polytropon --work FOLDER [--seeds 0,1,2] [--items 24] [--json OUT]

A seed draws 3 of the demo's 14 tasks; skills are trained on the 11 others, then adapted to each of the 3 with a few
examples of its training split. All is judged on test examples, whose phrasings no training has seen:

- trained   mean over the 11 tasks, each by its own logits.
- z         fresh logits are trained for the new task, and nothing else.
- mu        the mean of the skills is trained as one LoRA; of the shared LoRA there is nothing else to train.
- all       fresh logits and the skills; of the shared LoRA the same as mu.
- mean      no adaptation: the mean of the skills, as it is.

Claimed (arXiv 2211.03831): MHR ≥ Poly ≥ shared. Intervals are 95%, paired over the items of each seed's tasks; neither
tasks nor seeds are drawn. Killed, it goes on where it was: FOLDER keeps checkpoints and what is finished.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from catalog.tasks.metrics import METRICS
from catalog.tasks.task import Task, content_hash
from flows.demo.base import export_base
from flows.demo.tasks import build_tasks
from lorauter.adapters.skills import Skills, mean_skill, task_adapter
from lorauter.adapters.weights import AdapterWeights
from lorauter.device import choose_device
from lorauter.engine.engine import Engine
from lorauter.evaluation.intervals import drawn_means, interval
from lorauter.routing.routes import Route
from lorauter.train.frozen_base import frozen_base
from lorauter.train.skill_options import Learns, Schedule, SkillShape
from lorauter.train.skill_training import Sitting, adapt_skills, train_skills
from warehouse.storage.files import write_text

HELD_OUT = 3
SHAPES = {  # of equally many parameters
    "mhr": SkillShape(skills=4, heads=4, rank=4),
    "poly": SkillShape(skills=4, heads=1, rank=4),
    "shared": SkillShape(skills=1, heads=1, rank=16),
}
BASE = "base"
TRAINED = "trained"
WAYS = ("mean", "z", "mu", "all")
COMPARED = [  # (column, system, reference)
    *((column, "mhr", "poly") for column in (TRAINED, *WAYS)),
    *((column, "poly", "shared") for column in (TRAINED, "mean", "mu", "all")),
    *((column, "mhr", "shared") for column in (TRAINED, "mean", "mu", "all")),
]
Scores = dict[str, list[float]]
"""Task → the score of each item."""
Systems = Mapping[str, Mapping[str, Scores]]
"""System → column → scores."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run costs: sizes of training, adaptation and judging."""

    examples: int = 32
    epochs: int = 3
    shots: int = 16
    shot_epochs: int = 8
    items: int = 24

    @property
    def training(self) -> Schedule:
        """On the 11 tasks."""
        return Schedule(epochs=self.epochs, examples=self.examples, watch=0.1, look_every=22, patience=1000)

    @property
    def adapting(self) -> Schedule:
        """To one task, whose validation set is not looked at: the shots themselves are watched."""
        return Schedule(epochs=self.shot_epochs, examples=self.shots, batch_size=8, watch=0.0, look_every=4)


class Bench:
    """Trains and judges one seed after the other.

    Args:
        work: folder of the base, checkpoints and finished parts.
    """

    def __init__(self, work: Path, plan: Plan) -> None:
        self._work, self._plan = work / content_hash(asdict(plan), 8), plan
        self._folder = export_base(work / "base")
        self._trainable = frozen_base(self._folder, choose_device("auto"))
        self._adapters: dict[str, AdapterWeights] = {}
        self._engine = Engine(self._folder, find_adapter=self._adapters.__getitem__)
        self._tasks = sorted(build_tasks(), key=lambda task: task.name)

    def seed(self, seed: int) -> dict[str, dict[str, Scores]]:
        """System → column → scores of one seed."""
        held = set(random.Random(seed).sample([task.name for task in self._tasks], HELD_OUT))
        trained_on = [task for task in self._tasks if task.name not in held]
        new = [task for task in self._tasks if task.name in held]
        return {name: self._finished(seed, name, trained_on, new) for name in (BASE, *SHAPES)}

    def cost(self, seed: int, name: str) -> dict[str, Any]:
        """What a finished system took."""
        return dict(json.loads(self._kept(seed, name).read_text(encoding="utf-8"))["cost"])

    def _kept(self, seed: int, name: str) -> Path:
        return self._work / f"{name}-{seed}.json"

    def _finished(self, seed: int, name: str, trained_on: Sequence[Task], new: Sequence[Task]) -> dict[str, Scores]:
        kept = self._kept(seed, name)
        if kept.exists():
            return dict(json.loads(kept.read_text(encoding="utf-8"))["scores"])
        if name == BASE:
            scores, cost = {TRAINED: self._judged(trained_on, None), "mean": self._judged(new, None)}, dict[str, Any]()
        else:
            scores, cost = self._system(seed, name, trained_on, new)
        write_text(kept, json.dumps({"cost": cost, "scores": scores}, indent=1) + "\n")
        return scores

    def _system(
        self, seed: int, name: str, trained_on: Sequence[Task], new: Sequence[Task]
    ) -> tuple[dict[str, Scores], dict[str, Any]]:
        sitting = Sitting(self._work / f"{name}-{seed}", seed=seed, progress=partial(_tell, f"{name}, seed {seed}"))
        trained = train_skills(*self._trainable, trained_on, SHAPES[name], self._plan.training, sitting)
        skills, begun = trained.skills, time.monotonic()
        columns = {TRAINED: self._judged(trained_on, skills), "mean": self._judged(new, None, skills)}
        ways: tuple[Learns, ...] = ("mu",) if name == "shared" else ("z", "mu", "all")
        for way in ways:
            columns[way] = {}
            for task in new:
                with TemporaryDirectory() as folder:
                    short = Sitting(Path(folder), seed=seed)
                    fitted = adapt_skills(*self._trainable, task, skills, way, self._plan.adapting, short)
                columns[way] |= self._judged([task], fitted.skills)
        if name == "shared":
            columns["all"] = columns["mu"]
        cost = {
            "train_seconds": round(trained.learned.seconds, 1),
            "rest_seconds": round(time.monotonic() - begun, 1),
            **{name: trained.learned.facts[name] for name in ("steps", "best_step", "ended", "loss")},
            "parameters": skills.parameters,
            "logits": sum(module.logits.numel() for module in skills.modules.values()),
        }
        return columns, cost

    def _judged(self, tasks: Sequence[Task], skills: Skills | None, mean_of: Skills | None = None) -> Scores:
        """Scores of test items, each task served by its own plain LoRA, by the mean of skills, or by the base."""
        scores: Scores = {}
        for task in tasks:
            used = mean_skill(mean_of, [task.name]) if mean_of is not None else skills
            key = ""
            if used is not None:
                key = f"{task.name}@{time.monotonic_ns()}"
                self._adapters[key] = task_adapter(used, task.name)
            items = task.test[: self._plan.items]
            routes = [Route(((key, 1.0),) if key else ())] * len(items)
            texts = self._engine.answer([task.prompt(item.input) for item in items], routes, task.max_new_tokens)
            metric = METRICS[task.metric]
            scores[task.name] = [metric.score(text, item.target) for text, item in zip(texts, items, strict=True)]
            self._adapters.pop(key, None)
        return scores


def _tell(name: str, step: int, steps: int, loss: float) -> None:
    print(f"{name}: step {step} of {steps}, best watched loss {loss:.3f}", file=sys.stderr, flush=True)


def compared(by_seed: Mapping[int, Systems], column: str, one: str, other: str) -> list[float]:
    """Mean difference of two systems over all seeds' tasks, with its interval: [difference, low, high]."""
    pairs = [
        np.asarray([by_seed[seed][system][column][task] for system in (one, other)])
        for seed in by_seed
        for task in sorted(by_seed[seed][one][column])
    ]
    drawn = drawn_means(pairs).mean(axis=1)
    low, high = interval(drawn[0] - drawn[1])
    difference = float(np.mean([pair[0].mean() - pair[1].mean() for pair in pairs]))
    return [round(value, 4) for value in (difference, float(low), float(high))]


def means(by_seed: Mapping[int, Systems]) -> dict[str, dict[str, float]]:
    """System → column → mean over seeds and tasks."""
    systems = next(iter(by_seed.values()))
    return {
        system: {
            column: round(
                float(np.mean([np.mean(s) for scores in by_seed.values() for s in scores[system][column].values()])), 4
            )
            for column in systems[system]
        }
        for system in systems
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--seeds", default="0,1,2")
    for name, value in asdict(Plan()).items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, default=value)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args(arguments)
    torch.set_num_threads(args.threads)
    plan = Plan(**{name: getattr(args, name) for name in asdict(Plan())})
    bench = Bench(args.work, plan)
    by_seed = {int(seed): bench.seed(int(seed)) for seed in args.seeds.split(",")}
    told = {
        "plan": asdict(plan),
        "seeds": list(by_seed),
        "means": means(by_seed),
        "differences": [
            {"column": column, "system": one, "reference": other, "difference": compared(by_seed, column, one, other)}
            for column, one, other in COMPARED
        ],
        "cost": {f"{name}, seed {seed}": bench.cost(seed, name) for seed in by_seed for name in SHAPES},
    }
    print("\n".join(table(told)))
    if args.json:
        write_text(args.json, json.dumps(told, indent=2) + "\n")


def table(told: Mapping[str, Any]) -> list[str]:
    """The lines that are printed."""
    columns = (TRAINED, *WAYS)
    lines = [f"{'':8}" + "".join(f"{column:>9}" for column in columns)]
    for system, row in told["means"].items():
        lines.append(f"{system:8}" + "".join(f"{row[c]:9.3f}" if c in row else f"{'':9}" for c in columns))
    for row in told["differences"]:
        difference, low, high = row["difference"]
        pair = f"{row['system']} - {row['reference']}"
        lines.append(f"{row['column']:8} {pair:15} {difference:+.3f} [{low:+.3f}, {high:+.3f}]")
    return lines


if __name__ == "__main__":
    main()
