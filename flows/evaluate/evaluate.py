"""Evaluate: routers × compositions × settings on the tasks' held-back test items.

Knows: which items are asked, how routes become answers and answers scores, what each system cost. Does not know: what
the settings take away, how figures and intervals are made (lorauter/evaluation), how they are told
(flows/evaluate/figures, flows/evaluate/table).

The ledger is the cache: an answer is known by its prompt, weighted adapters, composition and the engine's conditions,
whichever router or setting wanted it. A further router costs only the answers that no other has asked for.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Any

from catalog.errors import TaskError
from catalog.tasks.answer import Answer, Failed
from catalog.tasks.metrics import METRICS
from catalog.tasks.task import Example, Task, content_hash
from flows.home.home import Home
from flows.home.parts import engine_here
from flows.outputs.shards import RunShards, ensure_outputs
from flows.screen.progress import Advance, say, stage
from lorauter.compositions import OWN, read_spelled, spelled
from lorauter.compositions.serving import served
from lorauter.evaluation.settings import SETTINGS, Asked, SettingRouter, SettingRoutes
from lorauter.evaluation.systems import System, check_names, reference_of, systems_of
from lorauter.gates.protocol import GatedRoute
from lorauter.loading import open_parts
from lorauter.routers import ROUTERS, RouterParts
from lorauter.routing.routes import Mixture, Routed
from warehouse.plans.plan import Conditions, Work
from warehouse.snapshots.snapshot import Snapshot

Alter = Callable[[RouterParts], RouterParts]


@dataclass(frozen=True, slots=True)
class EvaluateOptions:
    """What is evaluated.

    Args:
        tasks: names; all of the snapshot that have test items where left out. items: most a task, the first ones; all
            where left out. reference: `ROUTER` or `ROUTER+COMPOSITION`, see `lorauter.evaluation.systems.reference_of`.
        snapshot: as `Home.snapshot`.

    Raises:
        SettingError: a router, composition, setting or reference does not exist.
    """

    routers: tuple[str, ...]
    compositions: tuple[str, ...] = (OWN,)
    settings: tuple[str, ...] = SETTINGS
    tasks: tuple[str, ...] = ()
    items: int | None = None
    reference: str | None = None
    snapshot: str | Path | None = None

    def __post_init__(self) -> None:
        reference_of(systems_of(self.routers, self.compositions, self.settings), self.reference)


@dataclass(frozen=True, slots=True)
class Item:
    """A system's answer to one test example. `score`: 0 where there is no answer. `gated`: by token, no weights."""

    task: str
    example: str
    mixture: Mixture
    tasks: tuple[str, ...]
    answer: Answer
    score: float
    gated: bool = False


@dataclass(frozen=True, slots=True)
class Cost:
    """What a system took.

    Args:
        new: answers that no other system or run had made. route_seconds: a query. answer_seconds: a new answer, None
            where there was none. passes: forward passes over a prompt a query, the answer's own and the router's.
    """

    new: int
    route_seconds: float
    answer_seconds: float | None
    passes: float


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Everything that was found, before it is averaged.

    Args:
        tasks: those evaluated, their test split cut to the items asked. items: of each system, task by task, in the
            order of the tasks and of their examples.
    """

    snapshot: str
    conditions: Conditions
    routing: Mapping[str, Any]
    tasks: tuple[Task, ...]
    reference: tuple[str, str] | None
    items: Mapping[System, Sequence[Item]]
    costs: Mapping[System, Cost]

    @property
    def name(self) -> str:
        """Hash of all that was asked."""
        tasks = [[task.name, task.hash, task.domain, [example.id for example in task.test]] for task in self.tasks]
        systems = [asdict(system) for system in self.items]
        return content_hash([self.snapshot, asdict(self.conditions), self.routing, tasks, systems, self.reference])


def evaluate(home: Home, options: EvaluateOptions, run: RunShards, altered: Alter | None = None) -> Evaluation:
    """Route, answer and score the test items by every system. Killed, it goes on where it was.

    Args:
        altered: gives other parts to build routers from, for studies: with another encoder, say.

    Raises:
        SettingError: a router, composition, setting, task or reference does not exist. TaskError: no test items.
    """
    systems = systems_of(options.routers, options.compositions, options.settings)
    reference = reference_of(systems, options.reference)
    snapshot = home.snapshot(options.snapshot)
    parts = _parts(home, snapshot)
    parts = altered(parts) if altered else parts
    conditions = home.conditions(parts.index.base, parts.index.base_sha)
    tasks = tasks_with_items(home.tasks(), parts.index.tasks, options.tasks, options.items)
    judge = _Judge(home, conditions, tasks, run)
    routed = _routes(parts, snapshot, tasks, systems)
    total = sum(len(task.test) for task in tasks) * len(systems)
    with stage("evaluate", total, "answers") as advance:
        found = {s: judge.items(s, routed[s.setting, s.router], advance) for s in systems}
    items, costs = {s: kept for s, (kept, _) in found.items()}, {s: cost for s, (_, cost) in found.items()}
    routing = asdict(home.settings.routing)
    return Evaluation(snapshot.id, conditions, routing, tuple(tasks), reference, items, costs)


def tasks_with_items(
    stored: Sequence[Task], known: Sequence[str], asked: Sequence[str], items: int | None
) -> list[Task]:
    """The tasks to evaluate, by name, their test split cut to its first `items`.

    Args:
        stored: the home's tasks. known: names in the snapshot. asked: names wanted, all where empty.

    Raises:
        SettingError: a name that is not in the snapshot. TaskError: a task asked for, or every task, has no test items.
    """
    by_name = {task.name: task for task in stored}
    names = sorted(set(asked) or set(known))
    check_names("task", names, known)
    without = [name for name in names if name not in by_name or not by_name[name].test]
    if without and (asked or len(without) == len(names)):
        raise TaskError(f"No test examples: {', '.join(without)}.", "Add some: lorauter tasks add … --test 50.")
    if without:
        say(f"Left out, since they have no test examples: {', '.join(without)}.")
    kept = [by_name[name] for name in names if name not in without]
    return [replace(task, test=task.test[:items]) for task in kept]


def _parts(home: Home, snapshot: Snapshot) -> RouterParts:
    """What the settings' routers over a snapshot are built from; the base is loaded only for those that ask it."""
    parts = open_parts(
        snapshot,
        base=home.settings.base,
        options=home.settings.routing,
        encoder=lambda wanted: home.fetch_model(wanted.id, wanted.sha),
        encoder_dtype=home.settings.encoder_dtype,
    )
    return replace(parts, engine=lambda: engine_here(home, parts.index.base, parts.index.base_sha))


def _routes(
    parts: RouterParts, snapshot: Snapshot, tasks: Sequence[Task], systems: Sequence[System]
) -> dict[tuple[str, str], SettingRoutes]:
    """Routes of all test items, by setting and router: once for all of a router's compositions."""
    asked = [
        Asked(task.name, tuple(e.input for e in task.test), tuple(task.prompt(e.input) for e in task.test))
        for task in tasks
    ]
    wanted = list(dict.fromkeys((system.setting, system.router) for system in systems))
    router, queries = SettingRouter(parts, snapshot, asked), sum(len(task.test) for task in tasks)
    found = {}
    with stage("route", queries * len(wanted), "queries") as advance:
        for setting, name in wanted:
            found[setting, name] = router.route(ROUTERS[name], setting)
            advance(queries)
    return found


class _Judge:
    """Answers test items by routes and compositions, and scores them."""

    def __init__(self, home: Home, conditions: Conditions, tasks: Sequence[Task], run: RunShards) -> None:
        self._home, self._conditions, self._run = home, conditions, run
        self._asked = [(task, example) for task in tasks for example in task.test]

    def items(self, system: System, routed: SettingRoutes, advance: Advance) -> tuple[list[Item], Cost]:
        """A system's items, and what was newly spent on them."""
        began, composition = time.perf_counter(), spelled(system.composition)
        routes = [route for _, group in groupby(self._asked, lambda a: a[0].name) for route in routed.routes[_]]
        work = [_work(*asked, route, composition) for asked, route in zip(self._asked, routes, strict=True)]
        answers, new = ensure_outputs(self._home, work, self._conditions, self._run, advance)
        seconds = (time.perf_counter() - began) / new if new else None
        cost = Cost(new, routed.seconds / len(work), seconds, 1 + routed.passes)
        rows = zip(self._asked, routes, work, answers, strict=True)
        return [_item(*asked, route, wanted, answer) for asked, route, wanted, answer in rows], cost


def _work(task: Task, example: Example, route: Routed, composition: str) -> Work:
    """The item as it is answered: its task's own template and bound, its options where they are to be weighed."""
    mixture, served_as = _plainest(*served(route, composition), composition)
    return Work(
        prompt=task.prompt(example.input),
        mixture=mixture,
        max_new_tokens=task.max_new_tokens,
        task=task.name,
        example=example.id,
        options=example.options if METRICS[task.metric].needs == "option_logprobs" else (),
        composition=served_as,
    )


def _plainest(mixture: Mixture, served_as: str, composition: str) -> tuple[Mixture, str]:
    """What a composition makes no new adapter of is an output mixture, and shares the answers of those."""
    if not composition or served_as != composition:
        return mixture, served_as
    composed = read_spelled(composition).compose(mixture)
    return (mixture, served_as) if composed.merge else (composed.mixture, "")


def _item(task: Task, example: Example, route: Routed, work: Work, answer: Answer) -> Item:
    metric = METRICS[task.metric]
    score = 0.0 if isinstance(answer, Failed) else metric.score(answer, example.target, example.options)
    behind = tuple(match.task for match in route.tasks if match.weight > 0)
    return Item(task.name, example.id, work.mixture, behind, answer, score, isinstance(route, GatedRoute))
