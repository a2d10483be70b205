"""What a prompt format is worth: adapters trained in one that is not their task's, asked in three ways.

Knows: the columns, means and intervals, the table. Does not know: how the pool was made (formats_pool), how formats are
detected (formats_detection) and scored (formats_scores), how the product races them (formats_race).

    make bench-formats
    python -m benchmarks.formats --pool FOLDER [--items 8] [--race] [--json OUT]         # FOLDER of formats_pool

On each adapter's own task, on test examples, whose phrasings no adapter has met:

- task      one template for all: the task's own.
- detected  the format that the repo's files say, with its stops; where they say nothing, the task's template.
- true      the format of its training.
- chosen    of task and detected the better one on the validation examples, the task's where they tie: what a race of
            both would find, if it spent every example.
- base, …   the base without an adapter: under the task's template, and under the format that is best on the validation
            examples of each task, of all that the pool has and the base's own chat template.
- raced, …  with --race: what the product itself publishes for the task when it scores the pool in one template
            (LORAUTER_FORMATS=task) and in the formats that adapters say (detected), asked as it says.

Intervals are 95%, paired over the items of each task; tasks are not drawn. Detection is counted on the pool and, where
the folders are there, on real adapters. Killed, it goes on where it was.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.formats_detection import believed, format_of_evidence, says_in, verdict, wild_verdicts
from benchmarks.formats_plan import PLAN, Trained
from benchmarks.formats_race import Race, raced
from benchmarks.formats_race import lines as race_lines
from benchmarks.formats_scores import BASE, Cell, Scorer
from catalog.errors import SettingError
from catalog.formats.detect import Evidence
from catalog.formats.format import PromptFormat, of_template
from catalog.tasks.task import Task
from flows.demo.base import BASE_ID
from flows.demo.tasks import build_tasks
from lorauter.evaluation.intervals import drawn_means, interval
from lorauter.formats.base_chat import base_chat_format
from lorauter.formats.folder import base_chat_template
from warehouse.storage.files import write_text

TASK, DETECTED, TRUE, CHOSEN = "task", "detected", "true", "chosen"
BASE_TASK, BASE_BEST = "base, task", "base, best"
RACED = {"task": "raced, task", "detected": "raced, detected"}
"""Setting → column."""
BASE_CHAT = "chat template of the base"
Scores = Mapping[str, Sequence[float]]
"""Name of a format or column → the score of each example."""


@dataclass(frozen=True, slots=True)
class Member:
    """An adapter of the pool, as it is asked.

    Args:
        planned: what it is.
        task: its task.
        evidence: what its repo says, as far as it is believed.
        said: the format that means; None where nothing is said.
    """

    planned: Trained
    task: Task
    evidence: Evidence | None
    said: PromptFormat | None

    @property
    def formats(self) -> dict[str, PromptFormat]:
        """Column → the format that it is asked in."""
        own = of_template(self.task.template, TASK)
        return {TASK: own, DETECTED: self.said or own, TRUE: self.planned.truth}


def members(pool: Path, base_chat: PromptFormat, items: int | None) -> list[Member]:
    """The adapters of a pool.

    Args:
        pool: its folder.
        base_chat: the chat template of the base, as a format.
        items: most examples of a task and split, its first; None for all.

    Raises:
        SettingError: the pool is not whole.
    """
    check_whole(pool)
    tasks = {task.name: task for task in build_tasks()}
    return [_member(pool, one, _first(tasks[one.task], items), base_chat) for one in PLAN]


def check_whole(pool: Path) -> None:
    """Raises SettingError where a pool lacks an adapter of the plan."""
    missing = [one.name for one in PLAN if not (pool / "hub" / one.name).is_dir()]
    if missing:
        raise SettingError(
            f"{pool} lacks {len(missing)} adapters: {', '.join(missing)}.",
            f"Train them: python -m benchmarks.formats_pool --out {pool}.",
        )


def _member(pool: Path, one: Trained, task: Task, base_chat: PromptFormat) -> Member:
    says = says_in(pool / "hub" / one.name, base_chat_template=base_chat_template(pool / "base"))
    evidence = believed(says)
    said = format_of_evidence(evidence, says, base_chat) if evidence else None
    return Member(one, task, evidence, said)


def _first(task: Task, items: int | None) -> Task:
    return replace(task, validation=task.validation[:items], test=task.test[:items])


@dataclass(frozen=True, slots=True)
class Asked:
    """Scores of one adapter, or of the base on its task, under several formats.

    Args:
        validation: of the examples that choose.
        test: of the examples that are reported.
    """

    validation: Scores
    test: Scores

    def best(self, names: Sequence[str]) -> str:
        """The one of these formats that is best on the validation examples; the first of those that tie."""
        return max(names, key=lambda name: float(np.mean(self.validation[name])))


def asked(scorer: Scorer, repo: str, task: Task, ways: Mapping[str, PromptFormat]) -> Asked:
    """Scores of an adapter or the base on both splits of a task, under each format."""
    splits = (task.validation, task.test)
    scores = scorer.scores([Cell(repo, task, way, examples) for examples in splits for way in ways.values()])
    middle = len(ways)
    return Asked(dict(zip(ways, scores[:middle], strict=True)), dict(zip(ways, scores[middle:], strict=True)))


def base_formats(task: Task, base_chat: PromptFormat) -> dict[str, PromptFormat]:
    """What the base is asked in: the task's template first, then the pool's formats and its own chat template."""
    pool = {one.format: one.truth for one in PLAN}
    return {TASK: of_template(task.template, TASK), **pool, BASE_CHAT: base_chat}


def columns(own: Asked, base: Asked, races: Scores | None = None) -> dict[str, Sequence[float]]:
    """Column → scores of the test examples. `races` are those of the product's picks, by column."""
    return {
        **{name: own.test[name] for name in (TASK, DETECTED, TRUE)},
        CHOSEN: own.test[own.best([TASK, DETECTED])],
        BASE_TASK: base.test[TASK],
        BASE_BEST: base.test[base.best(list(base.test))],
        **(races or {}),
    }


def study(
    pool: Path, items: int | None, device: str = "auto", races: Mapping[str, Race] | None = None
) -> dict[str, Any]:
    """All figures.

    Args:
        pool: its folder.
        items: most examples of a task and split, its first; None for all.
        device: see `choose_device`.
        races: what the product published of the pool, where it was asked, by its setting `formats`.
    """
    base_chat = base_chat_format(pool / "base", BASE_ID)
    scorer = Scorer(pool, pool / "base", device)
    told = scorer.conditions()
    every = members(pool, base_chat, items)
    own = [asked(scorer, one.planned.name, one.task, one.formats) for one in every]
    base = [asked(scorer, BASE, one.task, base_formats(one.task, base_chat)) for one in every]
    picked = {RACED[way]: pick_scores(scorer, every, race) for way, race in (races or {}).items()}
    rows = [
        columns(one, of_base, {name: scores[number] for name, scores in picked.items()})
        for number, (one, of_base) in enumerate(zip(own, base, strict=True))
    ]
    return {
        "conditions": told,
        "items": {"validation": _items(every, "validation"), "test": _items(every, "test")},
        "means": means(rows),
        "adapters": [line(*parts) for parts in zip(every, own, base, rows, strict=True)],
        "base": base_figures(base),
        "detection": {"pool": detection(every), **wild_verdicts()},
        **({"races": {way: race.figures for way, race in races.items()}} if races else {}),
    }


def pick_scores(scorer: Scorer, every: Sequence[Member], race: Race) -> Sequence[Sequence[float]]:
    """Scores of the product's pick for each member's task on its test examples."""
    picks = {pick.task: pick for pick in race.picks}
    cells = [
        Cell(pick.repo, one.task, pick.asked_in(one.task), one.task.test)
        for one in every
        for pick in [picks[one.task.name]]
    ]
    return scorer.scores(cells)


def _items(every: Sequence[Member], split: str) -> int:
    return sum(len(getattr(one.task, split)) for one in every)


def means(rows: Sequence[Scores]) -> dict[str, dict[str, Any]]:
    """Column → its mean over tasks, and how far it lies above `task`, with intervals.

    Args:
        rows: column → score of each test example, of each adapter's task.
    """
    names = list(rows[0])
    scores = [np.array([row[name] for name in names]) for row in rows]
    value, drawn = np.stack([one.mean(axis=1) for one in scores]).mean(axis=0), drawn_means(scores).mean(axis=1)
    place = names.index(TASK)
    over, bounds, over_bounds = value - value[place], interval(drawn), interval(drawn - drawn[place])
    return {
        name: {
            "value": _rounded(value[number]),
            "interval": [_rounded(bound[number]) for bound in bounds],
            "over_task": _rounded(over[number]),
            "over_task_interval": [_rounded(bound[number]) for bound in over_bounds],
        }
        for number, name in enumerate(names)
    }


def line(one: Member, own: Asked, base: Asked, row: Scores) -> dict[str, Any]:
    """What the JSON says of one adapter."""
    told = {"format": one.evidence.format, "source": one.evidence.source} if one.evidence else None
    return {
        "adapter": one.planned.name,
        "task": one.planned.task,
        "format": one.planned.format,
        "says": one.planned.way,
        "detected": told,
        "verdict": verdict(one.said, one.planned.truth),
        "chosen": own.best([TASK, DETECTED]),
        "base_best": base.best(list(base.test)),
        "test": {name: _rounded(float(np.mean(scores))) for name, scores in row.items()},
    }


def base_figures(base: Sequence[Asked]) -> dict[str, Any]:
    """The base's mean over tasks under each format, and under the one that is best on validation over all tasks."""
    names = list(base[0].test)

    def mean_of(name: str, split: str) -> float:
        return float(np.mean([np.mean(getattr(one, split)[name]) for one in base]))

    best = max(names, key=lambda name: mean_of(name, "validation"))
    return {
        "best_for_all": best,
        "test": {name: _rounded(mean_of(name, "test")) for name in names},
        "validation": {name: _rounded(mean_of(name, "validation")) for name in names},
    }


def detection(every: Sequence[Member]) -> dict[str, int]:
    """How often what the pool's repos say is right, wrong, or nothing."""
    counts = Counter(verdict(one.said, one.planned.truth) for one in every)
    return {told: counts[told] for told in ("right", "wrong", "silent")}


def _rounded(value: float) -> float:
    return round(float(value), 4)


# --- The table -------------------------------------------------------------------------------------------------------


def lines(figures: Mapping[str, Any]) -> list[str]:
    """The table that is printed."""
    head = f"{'adapter':<18}{'trained in':<17}{'its repo says so by':<35}{'detected':<24}"
    head += "".join(f"{name:>17}" for name in figures["means"])
    return [
        head,
        *(_adapter_line(one) for one in figures["adapters"]),
        "",
        *(_mean_line(name, one) for name, one in figures["means"].items()),
        "",
        *_base_lines(figures["base"]),
        "",
        *(_detection_line(name, counts) for name, counts in figures["detection"].items()),
    ]


def _adapter_line(one: Mapping[str, Any]) -> str:
    told = one["detected"]["format"] if one["detected"] else "-"
    said = f"{one['task']:<18}{one['format']:<17}{one['says']:<35}{told + ', ' + one['verdict']:<24}"
    return said + "".join(f"{score:>17.3f}" for score in one["test"].values())


def _mean_line(name: str, one: Mapping[str, Any]) -> str:
    low, high = one["interval"]
    less, more = one["over_task_interval"]
    over = "" if name == TASK else f"   over {TASK}: {one['over_task']:+.3f} [{less:+.3f}, {more:+.3f}]"
    return f"{name:<12} mean {one['value']:.3f} [{low:.3f}, {high:.3f}]{over}"


def _base_lines(base: Mapping[str, Any]) -> list[str]:
    best = base["best_for_all"]
    return [
        "the base under each format, means over tasks (test; validation):",
        *(
            f"  {name:<28}{score:.3f}   {base['validation'][name]:.3f}{'   best on validation' if name == best else ''}"
            for name, score in base["test"].items()
        ),
    ]


def _detection_line(name: str, counts: Mapping[str, int]) -> str:
    return f"detection, {name}: " + ", ".join(f"{count} {told}" for told, count in counts.items())


def main() -> None:
    """The command line."""
    import torch

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pool", type=Path, required=True, help="folder that formats_pool wrote")
    parser.add_argument("--items", type=int, help="most examples a task and split, its first; all where left out")
    parser.add_argument("--race", action="store_true", help="let the product score the pool on a home of its own, too")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    pool = args.pool.absolute()
    races = {way: raced(pool, way) for way in RACED} if args.race else {}
    figures = study(pool, args.items, args.device, races)
    print("\n".join([*lines(figures), *(line for race in races.values() for line in race_lines(race))]))
    if args.json:
        write_text(args.json, json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
