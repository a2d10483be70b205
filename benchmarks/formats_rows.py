"""What to do with a row whose adapters were trained in different prompt formats: three ways of asking, measured.

Knows: routes over the formats pool, the ways, means and intervals, the table. Does not know: how the pool was made
(formats_pool), how answers are made and kept (formats_scores).

    make bench-formats
    python -m benchmarks.formats_rows --pool FOLDER [--items 20] [--json OUT]            # FOLDER of formats_pool

Every task's test examples are routed over the pool's adapters, one a task, each in the format of its training:

- leader  the mixture, asked in the format of its heaviest adapter.
- same    only the adapters of that format, their weights divided by their sum.
- apart   each adapter by itself in its own format; of their texts the one with the most weight behind it wins, the
          leader's where two weigh alike.
- alone   the leader by itself in its format, for reference.
- task    the mixture, asked in the task's own template, for reference.

All of it again over the demo's own adapters of the same tasks, each trained in its task's template, which is one text
for 13 of the 14: what mixing costs where formats hardly differ.

Routes: those of `lorauter` (three tasks, softmax at 0.2), the same at 0.5, and those of `loraretriever` (three tasks
that weigh alike, the nearest leads). Settings: non-ood, and ood, where the true task's adapter is out of reach. A row
counts as mixed where adapters of two formats weigh 0.2 and more each.

Intervals are 95%, paired over the items of each task; tasks are not drawn. Killed, it goes on where it was.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.formats import check_whole
from benchmarks.formats_plan import PLAN
from benchmarks.formats_scores import Scorer, decoding_in
from benchmarks.routing import packaged_encoder
from catalog.adapters.facts import WEIGHTS_NAME
from catalog.formats.format import PromptFormat, of_template
from catalog.tasks.answer import Answer
from catalog.tasks.controls import scores_of
from catalog.tasks.task import Example, Task
from flows.demo.base import BASE_ID
from flows.demo.tasks import build_tasks
from flows.demo.world import POOL
from lorauter.evaluation.intervals import drawn_means, interval
from lorauter.evaluation.settings import NON_OOD, OOD
from lorauter.routers.lora_retriever import LoraRetrieverRouter
from lorauter.routers.task_embedding import TaskEmbeddingRouter
from lorauter.routing.encoder import Encoder
from lorauter.routing.routes import Mixture, Router
from lorauter.routing.task_index import EncoderId, TaskIndex
from warehouse.plans.plan import Work
from warehouse.storage.files import write_text

LEADER, SAME, APART, ALONE, TASK = WAYS = ("leader", "same", "apart", "alone", "task")
SETTINGS = (NON_OOD, OOD)
MUCH = 0.2
"""What an adapter weighs that has a say in a row."""
Array = npt.NDArray[np.float64]
Formats = Mapping[str, PromptFormat]
"""Repo → the format of its training."""


@dataclass(frozen=True, slots=True)
class Row:
    """A test example with its route. `mixture`: repos with weights, heaviest first."""

    task: Task
    example: Example
    mixture: Mixture

    @property
    def leader(self) -> str:
        """The heaviest adapter."""
        return self.mixture[0][0]

    def is_mixed(self, formats: Formats) -> bool:
        """Whether adapters of two formats have a say."""
        return len({formats[repo].template() for repo, weight in self.mixture if weight >= MUCH}) > 1


@dataclass(frozen=True, slots=True)
class Ask:
    """One text that a row wants. `weight`: of the text among those of the row."""

    mixture: Mixture
    format: PromptFormat
    weight: float = 1.0


def asks(row: Row, way: str, formats: Formats) -> list[Ask]:
    """What a row asks for, the leader's first."""
    own = formats[row.leader]
    if way == LEADER:
        return [Ask(row.mixture, own)]
    if way == SAME:
        kept = [(repo, weight) for repo, weight in row.mixture if formats[repo].template() == own.template()]
        if len(kept) == len(row.mixture):
            return [Ask(row.mixture, own)]
        whole = sum(weight for _, weight in kept)
        return [Ask(tuple((repo, weight / whole) for repo, weight in kept), own)]
    if way == APART:
        return [Ask(((repo, 1.0),), formats[repo], weight) for repo, weight in row.mixture]
    if way == ALONE:
        return [Ask(((row.leader, 1.0),), own)]
    return [Ask(row.mixture, of_template(row.task.template, TASK))]


def elected(weights: Sequence[float], answers: Sequence[Answer]) -> Answer:
    """The answer with the most weight behind it; of those that weigh alike the first."""
    behind: dict[Answer, float] = {}
    for weight, answer in zip(weights, answers, strict=True):
        said = answer.strip() if isinstance(answer, str) else answer
        behind[said] = behind.get(said, 0.0) + weight
    return max(behind, key=lambda said: behind[said])


def scores(scorer: Scorer, rows: Sequence[Row], formats: Formats) -> dict[str, list[float]]:
    """Way → the score of each row."""
    keys = {repo: scorer.key(repo) for repo in formats}
    wanted = [(row, asks(row, way, formats)) for way in WAYS for row in rows]
    asked = [_work(row, ask, keys) for row, some in wanted for ask in some]
    answers = iter(scorer.answers(asked))
    found = []
    for row, some in wanted:
        answer = elected([ask.weight for ask in some], [next(answers) for _ in some])
        found += scores_of(row.task, [answer], [row.example])
    return {way: found[place * len(rows) : (place + 1) * len(rows)] for place, way in enumerate(WAYS)}


def _work(row: Row, ask: Ask, keys: Mapping[str, str]) -> tuple[Work, str]:
    """What the engine is asked, and the decoding."""
    mixture = tuple((keys[repo], weight) for repo, weight in ask.mixture)
    prompt = ask.format.prompt(row.example.input)
    return Work(prompt, mixture, row.task.max_new_tokens, row.task.name, row.example.id), decoding_in(ask.format)


# --- Adapters and routes ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Adapters:
    """Adapters that are routed over.

    Args:
        of_tasks: task → repo of its adapter.
        formats: in which each was trained.
    """

    of_tasks: Mapping[str, str]
    formats: Formats


def in_eight_formats() -> Adapters:
    """The pool's."""
    return Adapters({one.task: one.name for one in PLAN}, {one.name: one.truth for one in PLAN})


def in_their_tasks_template(tasks: Sequence[Task]) -> Adapters:
    """The demo's declared ones."""
    repos = {task.name: _folder_in(POOL / "hub", str(task.adapter)) for task in tasks}
    return Adapters(repos, {repos[task.name]: of_template(task.template, TASK) for task in tasks})


def _folder_in(hub: Path, repo: str) -> str:
    """Where in the hub an adapter's weights lie: in its repo, or in a folder of it."""
    return next((hub / repo).rglob(WEIGHTS_NAME)).parent.relative_to(hub).as_posix()


def routers(tasks: Sequence[Task], adapters: Adapters, encoder: Callable[[], Encoder]) -> dict[str, Router]:
    """The routers over adapters, one a task."""
    means = np.stack([encoder().encode([e.input for e in task.validation]).mean(axis=0) for task in tasks])
    names, repos = tuple(task.name for task in tasks), tuple(adapters.of_tasks[task.name] for task in tasks)
    index = TaskIndex(BASE_ID, "", names, means, repos, (None,) * len(tasks), EncoderId("", "", ""))
    return {
        "lorauter": TaskEmbeddingRouter(index, encoder),
        "lorauter at 0.5": TaskEmbeddingRouter(index, encoder, temperature=0.5),
        "loraretriever": LoraRetrieverRouter(index, encoder),
    }


def rows_of(router: Router, setting: str, tasks: Sequence[Task], items: int | None) -> list[Row]:
    """The first test examples of each task with their routes."""
    asked = [(task, example) for task in tasks for example in task.test[:items]]
    masked = [task.name for task, _ in asked] if setting == OOD else None
    routes = router.route([example.input for _, example in asked], masked)
    return [Row(*one, route.mixture) for one, route in zip(asked, routes, strict=True)]


# --- Figures ---------------------------------------------------------------------------------------------------------


def study(pool: Path, items: int | None, device: str = "auto") -> dict[str, Any]:
    """All figures.

    Args:
        pool: its folder.
        items: most test examples a task, its first; None for all.
        device: see `choose_device`.
    """
    check_whole(pool)
    every = {task.name: task for task in build_tasks()}
    tasks = [every[one.task] for one in PLAN]
    scorer = Scorer(pool, pool / "base", device, further=POOL / "hub")
    encoder = cache(lambda: Encoder(packaged_encoder(), device=device))
    told, pools = (
        scorer.conditions(),
        {"eight formats": in_eight_formats(), "tasks' template": in_their_tasks_template(tasks)},
    )
    figures = []
    for name, adapters in pools.items():
        by_router = routers(tasks, adapters, encoder)
        cells = {
            (setting, router): rows_of(by_router[router], setting, tasks, items)
            for setting in SETTINGS
            for router in by_router
        }
        found = scores(scorer, [row for rows in cells.values() for row in rows], adapters.formats)
        place = 0
        for (setting, router), rows in cells.items():
            own = {way: values[place : place + len(rows)] for way, values in found.items()}
            place += len(rows)
            figures.append({"pool": name, "setting": setting, "router": router, **cell_figures(rows, own, adapters)})
    return {"conditions": told, "items": items, "routes": figures}


def cell_figures(rows: Sequence[Row], found: Mapping[str, Sequence[float]], adapters: Adapters) -> dict[str, Any]:
    """What the JSON says of one router in one setting: all rows, and the mixed ones.

    Args:
        found: way → the score of each row.
    """
    formats = adapters.formats
    mixed = [row.is_mixed(formats) for row in rows]
    texts = {way: sum(len(asks(row, way, formats)) for row in rows) / len(rows) for way in WAYS}
    return {
        "led_by_the_tasks_own": _rounded(np.mean([row.leader == adapters.of_tasks[row.task.name] for row in rows])),
        "texts_a_row": {way: _rounded(value) for way, value in texts.items()},
        "all": means(rows, found, [True] * len(rows)),
        "mixed": means(rows, found, mixed),
    }


def means(rows: Sequence[Row], found: Mapping[str, Sequence[float]], kept: Sequence[bool]) -> dict[str, Any]:
    """Each way's mean over the rows that are kept, and how far it lies above the leader's, with intervals."""
    tasks = np.array([row.task.name if keep else "" for row, keep in zip(rows, kept, strict=True)])
    table = np.array([found[way] for way in WAYS], dtype=np.float64)
    by_task = [table[:, tasks == name] for name in dict.fromkeys(tasks) if name]
    if not by_task:
        return {"rows": 0, "ways": {}}
    sizes = np.array([one.shape[1] for one in by_task], dtype=np.float64)
    value = table[:, tasks != ""].mean(axis=1)
    drawn = np.tensordot(drawn_means(by_task), sizes / sizes.sum(), axes=([1], [0]))
    bounds, over_bounds = interval(drawn), interval(drawn - drawn[0])
    ways = {
        way: {
            "value": _rounded(value[place]),
            "interval": [_rounded(bound[place]) for bound in bounds],
            "over_leader": _rounded(value[place] - value[0]),
            "over_leader_interval": [_rounded(bound[place]) for bound in over_bounds],
        }
        for place, way in enumerate(WAYS)
    }
    return {"rows": int(sizes.sum()), "ways": ways}


def _rounded(value: float | np.floating[Any]) -> float:
    return round(float(value), 4)


# --- The table -------------------------------------------------------------------------------------------------------


def lines(figures: Mapping[str, Any]) -> list[str]:
    """The table that is printed."""
    head = f"{'adapters in':<17}{'setting':<9}{'routes of':<17}{'rows':<12}" + "".join(f"{way:>24}" for way in WAYS)
    return [head, *(_line(one, which) for one in figures["routes"] for which in ("all", "mixed") if one[which]["rows"])]


def _line(one: Mapping[str, Any], which: str) -> str:
    part = one[which]
    cells = [_cell(way, part["ways"][way]) for way in WAYS]
    return f"{one['pool']:<17}{one['setting']:<9}{one['router']:<17}{which + ' ' + str(part['rows']):<12}" + "".join(
        cells
    )


def _cell(way: str, one: Mapping[str, Any]) -> str:
    less, more = one["over_leader_interval"]
    over = "" if way == LEADER else f" [{less:+.3f}, {more:+.3f}]"
    return f"{one['value']:.3f}{over}".rjust(24)


def main() -> None:
    """The command line."""
    import torch

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pool", type=Path, required=True, help="folder that formats_pool wrote")
    parser.add_argument("--items", type=int, default=20, help="most test examples a task, its first")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    figures = study(args.pool.absolute(), args.items, args.device)
    print("\n".join(lines(figures)))
    if args.json:
        write_text(args.json, json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
