"""Races in formats, replayed: what the choice of formats costs and gives, over many orders of the examples.

Knows: every outcome of the formats pool (adapters × their formats × tasks × validation examples), the product's own
trials and races. Does not know: engines; detection (formats_detection), training (formats_pool).

    python -m benchmarks.formats_replay [--seeds 20] [--json OUT]        # from the committed outcomes; two minutes
    python -m benchmarks.formats_replay --pool FOLDER             # makes the outcomes anew; an hour on two cores

A seed orders examples and adapters. 36 examples of a task choose and 28 judge the picks. The base has no outcomes in
formats other than the task's own and its chat template: there it counts as in the task's own.

- one template  everybody in the task's own template.
- told          everybody in the format that its repo says most surely, without a trial.
- true          everybody in the format of its training.
- trials        the product's: what evidence says holds the place, trials decide (lorauter/racing/formats).
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.formats_detection import format_of_evidence, says_in
from benchmarks.formats_plan import PLAN, Trained
from benchmarks.formats_scores import Cell, Scorer
from catalog.adapters.card import CARD_NAME, card_text, name_text
from catalog.formats.detect import OWN as OWN_TEMPLATE
from catalog.formats.detect import detect
from catalog.formats.filled import FilledFormat
from catalog.formats.format import PromptFormat, of_template
from catalog.formats.tried import LEAST, formats_to_try
from catalog.tasks.answer import Failed
from catalog.tasks.task import Example, Task
from flows.demo.base import BASE_ID
from flows.demo.tasks import build_tasks
from flows.demo.world import ENCODER_ID, build_world
from lorauter.formats.base_chat import base_chat_format
from lorauter.formats.folder import base_chat_template
from lorauter.racing.evaluation import BASE, Evaluation
from lorauter.racing.formats import Arm, Asked, FormatTrials
from lorauter.racing.race import Entrance, Finish, run_races
from lorauter.racing.strategies import Racing
from lorauter.racing.view import Advance
from warehouse.storage.files import write_text

RESULTS = Path("benchmarks/results/formats-outcomes")
CHOOSE = 36  # examples of a task
OWN, TRUE, CHAT = "task", "true", "base chat"
WAYS = ("one template", "told", "true", "trials")


@dataclass(frozen=True)
class Outcomes:
    """All that was ever asked.

    Args:
        scores: (adapter or BASE, name of a format, task) → score of each validation example.
        arms: adapter → names of the formats that the product tries, the one that holds the place first.
        likeness: adapter → cosine of its card to every task; of BASE the mean.
    """

    scores: Mapping[tuple[str, str, str], Sequence[float]]
    arms: Mapping[str, Sequence[str]]
    likeness: Mapping[str, Sequence[float]]


def read_outcomes(folder: Path) -> Outcomes:
    """The committed ones."""
    rows = pq.read_table(folder / "scores.parquet").to_pylist()
    told = json.loads((folder / "arms.json").read_text(encoding="utf-8"))
    scores = {(row["adapter"], row["format"], row["task"]): row["scores"] for row in rows}
    return Outcomes(scores, told["arms"], told["likeness"])


# --- Replay ----------------------------------------------------------------------------------------------------------


@dataclass
class World:
    """One order of the examples; counts what is asked, each evaluation once."""

    outcomes: Outcomes
    seed: int
    asked: set[tuple[str, str, str, str]] = field(default_factory=set)

    def __post_init__(self) -> None:
        names = list(dict.fromkeys(task for _, _, task in self.outcomes.scores))
        rng = np.random.default_rng(self.seed)
        self.order = {name: rng.permutation(len(self.outcomes.scores[BASE, OWN, name])).tolist() for name in names}
        self.tasks = {name: _numbered(name, len(self.order[name])) for name in names}
        adapters = list(self.outcomes.arms)
        self.pool = [adapters[place] for place in rng.permutation(len(adapters))]

    def evaluate(self, wanted: Sequence[Evaluation], _advance: Advance) -> list[float | Failed]:
        """As the product's, from the outcomes."""
        found: list[float | Failed] = []
        for one in wanted:
            name = one.format.name if one.format else OWN
            self.asked.add((one.task.name, one.adapter, one.example.input, name))
            found.append(self.scores(one.adapter, name, one.task.name)[int(one.example.input)])
        return found

    def scores(self, adapter: str, name: str, task: str) -> Sequence[float]:
        """Of every example of the task."""
        known = self.outcomes.scores
        return known.get((adapter, name, task)) or known[adapter, OWN, task]

    def held_out(self, adapter: str, name: str, task: str) -> float:
        """The mean on the examples that choose nothing."""
        scores = self.scores(adapter, name, task)
        return float(np.mean([scores[place] for place in self.order[task][CHOOSE:]]))

    def examples(self, task: str) -> list[Example]:
        """Those that choose, in the race's order."""
        return [self.tasks[task].validation[place] for place in self.order[task][:CHOOSE]]

    @contextmanager
    def rung(self, _evaluations: int, _who: str) -> Iterator[Advance]:
        """Nobody watches."""
        yield lambda _: None


def _numbered(name: str, examples: int) -> Task:
    return Task(name, "exact_match", tuple(Example(str(number), "") for number in range(examples)))


@dataclass(frozen=True, slots=True)
class Replayed:
    """What came of one race.

    Args:
        evaluations: spent, those that chose formats among them.
        published: mean over tasks of the picks on the held-out examples.
        own_share: sum of all adapters' held-out scores on their own task as they are asked, of that in the format of
            their training.
        true_picks: picks that are asked in the format of their training.
    """

    evaluations: int
    published: float
    own_share: float
    true_picks: int


def replay(outcomes: Outcomes, way: str, seed: int) -> Replayed:
    """One race under one order of the examples."""
    world = World(outcomes, seed)
    likeness = {key: np.asarray(values) for key, values in outcomes.likeness.items()}
    asked = _asked(world, way, likeness)
    entrances = [Entrance(task, world.examples(name), name) for name, task in world.tasks.items()]
    finishes = run_races(entrances, world.pool, Racing(), likeness, world.evaluate, world, asked)
    return _judged(world, finishes, asked)


def _asked(world: World, way: str, likeness: Mapping[str, Any]) -> Asked:
    if way == "one template":
        return {}
    if way == "trials":
        examples = [
            [Evaluation(task, BASE, example) for example in world.examples(name)] for name, task in world.tasks.items()
        ]
        arms = {key: [_named(name) for name in names] for key, names in world.outcomes.arms.items() if names}
        trials = FormatTrials(examples, likeness, world.evaluate, world)
        return trials.choose(world.pool, {**arms, BASE: [_named(CHAT)]}).asked
    said = world.outcomes.arms
    formats = {key: _named(TRUE if way == "true" else [*names, OWN][0]) for key, names in said.items()}
    return {(task, key): one for key, one in formats.items() if one for task in world.tasks}


def _named(name: str) -> Arm:
    return None if name == OWN else FilledFormat(name, f"{name}: {{input}}")  # trials know formats by their texts


def _judged(world: World, finishes: Sequence[Finish], asked: Asked) -> Replayed:
    def name_of(task: str, key: str) -> str:
        one = asked.get((task, key))
        return one.name if one else OWN

    own_task = {one.name: one.task for one in PLAN}
    got = [world.held_out(key, name_of(task, key), task) for key, task in own_task.items()]
    true = [world.held_out(key, TRUE, task) for key, task in own_task.items()]
    picks = [(finish.best, name_of(finish.task.name, finish.best), finish.task.name) for finish in finishes]
    return Replayed(
        len(world.asked),
        float(np.mean([world.held_out(*pick) for pick in picks])),
        sum(got) / sum(true),
        sum(name == TRUE for key, name, _ in picks if key),
    )


def figures(outcomes: Outcomes, seeds: int) -> dict[str, dict[str, Any]]:
    """Way → means over the seeds, and the least published."""
    return {way: _means([replay(outcomes, way, seed) for seed in range(seeds)]) for way in WAYS}


def _means(replayed: Sequence[Replayed]) -> dict[str, Any]:
    return {
        "evaluations": round(float(np.mean([one.evaluations for one in replayed])), 1),
        "published": round(float(np.mean([one.published for one in replayed])), 4),
        "least_published": round(min(one.published for one in replayed), 4),
        "own_share": round(float(np.mean([one.own_share for one in replayed])), 4),
        "true_picks": round(float(np.mean([one.true_picks for one in replayed])), 2),
    }


# --- Outcomes --------------------------------------------------------------------------------------------------------


def make_outcomes(pool: Path, folder: Path) -> None:
    """Ask every adapter in its formats on every task; what the pool's ledger has is not asked again."""
    tasks = {task.name: task for task in build_tasks()}
    own_tasks = [tasks[one.task] for one in PLAN]
    chat = base_chat_format(pool / "base", BASE_ID)
    cells, names, arms = [], list[tuple[str, str, str]](), dict[str, list[str]]()
    for one in PLAN:
        formats, arms[one.name] = _formats(pool, one, chat)
        for task in own_tasks:
            for name, format_ in {OWN: of_template(task.template, OWN), **formats}.items():
                cells.append(Cell(one.name, task, format_, task.validation))
                names.append((one.name, name, task.name))
    for task in own_tasks:
        for name, format_ in ((OWN, of_template(task.template, OWN)), (CHAT, chat)):
            cells.append(Cell(BASE, task, format_, task.validation))
            names.append((BASE, name, task.name))
    scores = Scorer(pool, pool / "base").scores(cells)
    folder.mkdir(parents=True, exist_ok=True)
    columns = zip(*names, strict=True)
    table = pa.table({**dict(zip(("adapter", "format", "task"), map(list, columns), strict=True)), "scores": scores})
    pq.write_table(table, folder / "scores.parquet", compression="zstd")
    told = {"arms": arms, "likeness": _likeness(pool, own_tasks)}
    write_text(folder / "arms.json", json.dumps(told, indent=1) + "\n")


def _formats(pool: Path, one: Trained, chat: PromptFormat) -> tuple[dict[str, PromptFormat], list[str]]:
    """The formats of one adapter by name, that of its training too; and the names of those that the product tries."""
    says = says_in(pool / "hub" / one.name, base_chat_template=base_chat_template(pool / "base"))
    told = [(e, format_of_evidence(e, says, chat)) for e in detect(says) if e.confidence >= LEAST]
    evidence = [replace(e, format=OWN_TEMPLATE, template=f.template(), stops=f.stops) for e, f in told]
    by_name, names = {TRUE: one.truth}, list[str]()
    for number, format_ in enumerate(formats_to_try(evidence)):
        said = format_ and (TRUE if format_.template() == one.truth.template() else f"said {number}")
        names.append(said or OWN)
        if format_ and said:
            by_name.setdefault(said, format_)
    return by_name, names


def _likeness(pool: Path, tasks: Sequence[Task]) -> dict[str, list[float]]:
    """Cosine of every card to every task's mean input."""
    from lorauter.routing.encoder import Encoder

    encoder = Encoder(build_world(pool / "race" / "world", small=True) / ENCODER_ID)
    means = np.stack([encoder.encode([e.input for e in task.validation]).mean(axis=0) for task in tasks])
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    cards = {one.name: (pool / "hub" / one.name / CARD_NAME).read_text(encoding="utf-8") for one in PLAN}
    texts = [f"{name_text(name, '')} {card_text(card)}".strip() for name, card in cards.items()]
    cosines = np.round((means @ encoder.encode(texts).T).astype(np.float64), 4)
    return {BASE: cosines.mean(axis=1).tolist(), **dict(zip(cards, cosines.T.tolist(), strict=True))}


def lines(found: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The table that is printed."""
    one = found["one template"]["evaluations"]
    head = f"{'':<14}{'evaluations':>12}{'of one':>8}{'published':>11}{'least':>8}{'own format':>12}{'true picks':>12}"
    return [
        head,
        *(
            f"{way:<14}{row['evaluations']:>12.0f}{row['evaluations'] / one:>8.2f}{row['published']:>11.3f}"
            f"{row['least_published']:>8.3f}{row['own_share']:>12.3f}{row['true_picks']:>12.1f}"
            for way, row in found.items()
        ),
    ]


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pool", type=Path, help="folder that formats_pool wrote: make the outcomes anew")
    parser.add_argument("--outcomes", type=Path, default=RESULTS)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    if args.pool:
        make_outcomes(args.pool.absolute(), args.outcomes)
    found = figures(read_outcomes(args.outcomes), args.seeds)
    print("\n".join(lines(found)))
    if args.json:
        write_text(args.json, json.dumps({"seeds": args.seeds, "ways": found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
