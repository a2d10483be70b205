"""Evaluate: routers × compositions × settings on the tasks' held-back test items.

Knows: which items are asked, how routes become answers and answers scores, what each system cost. Does not know: what
the settings take away, how figures and intervals are made (lorauter/evaluation), how they are told
(flows/evaluate/figures, flows/evaluate/table).

An item is asked as `lorauter answer` asks it: in the format of its route's leader, else in its task's template.

The ledger is the cache: an answer is known by its prompt, weighted adapters, composition and the engine's conditions,
whichever router or setting wanted it. A further router costs only the answers that no other has asked for.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace

from catalog.errors import TaskError
from catalog.formats.filled import FilledFormat
from catalog.tasks.answer import Answer, Failed
from catalog.tasks.metrics import METRICS
from catalog.tasks.task import Example, Task, content_hash
from flows.answer.answered import MakeAnswers
from flows.answer.route_formats import RouteFormats
from flows.screen.progress import Advance, say, stage
from lorauter.answers import ended_by
from lorauter.compositions import OWN, read_spelled, spelled
from lorauter.compositions.serving import served
from lorauter.evaluation.settings import SETTINGS, Asked, SettingRouter, SettingRoutes
from lorauter.evaluation.systems import System, check_names, reference_of, systems_of
from lorauter.gates.protocol import GatedRoute
from lorauter.routers import ROUTERS, RouterParts
from lorauter.routing.routes import Mixture, Routed, RouterOptions
from warehouse.plans.conditions import make_each
from warehouse.plans.plan import Conditions, Work
from warehouse.snapshots.snapshot import Snapshot

Alter = Callable[[RouterParts], RouterParts]


@dataclass(frozen=True, slots=True)
class EvaluateOptions:
    """What is evaluated.

    Args:
        routers: names of `lorauter.routers.ROUTERS`.
        compositions: names of `lorauter.compositions.COMPOSITIONS`, or OWN.
        settings: names of `lorauter.evaluation.settings.SETTINGS`.
        tasks: names; all of the snapshot that have test items where left out.
        items: most a task, the first ones; all where left out.
        reference: `ROUTER` or `ROUTER+COMPOSITION`, see `lorauter.evaluation.systems.reference_of`.

    Raises:
        SettingError: a router, composition, setting or reference does not exist.
    """

    routers: tuple[str, ...]
    compositions: tuple[str, ...] = (OWN,)
    settings: tuple[str, ...] = SETTINGS
    tasks: tuple[str, ...] = ()
    items: int | None = None
    reference: str | None = None

    def __post_init__(self) -> None:
        reference_of(systems_of(self.routers, self.compositions, self.settings), self.reference)


@dataclass(frozen=True, slots=True)
class Item:
    """A system's answer to one test example.

    Args:
        task: its task.
        example: id of the example.
        mixture: adapters with weights.
        tasks: those of weight above 0 behind the route.
        answer: what the engine said.
        score: 0 where there is no answer.
        gated: whether adapters are weighed by token: they have no weights then.
        format: name of the prompt format that it was asked in; None: the task's own template.
    """

    task: str
    example: str
    mixture: Mixture
    tasks: tuple[str, ...]
    answer: Answer
    score: float
    gated: bool = False
    format: str | None = None


@dataclass(frozen=True, slots=True)
class Cost:
    """What a system took.

    Args:
        new: answers that no other system or run had made.
        route_seconds: of a query.
        answer_seconds: of a new answer, None where there was none.
        passes: forward passes over a prompt a query, the answer's own and the router's.
    """

    new: int
    route_seconds: float
    answer_seconds: float | None
    passes: float


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Everything that was found, before it is averaged.

    Args:
        snapshot: id of the snapshot that routed.
        conditions: what decided the outputs; a format's stops come beside those of its decoding.
        routing: the routers' constants and filters.
        tasks: those evaluated, their test split cut to the items asked.
        reference: router and composition that others are compared with.
        items: of each system, task by task, in the order of the tasks and of their examples.
        costs: of each system.
    """

    snapshot: str
    conditions: Conditions
    routing: RouterOptions
    tasks: tuple[Task, ...]
    reference: tuple[str, str] | None
    items: Mapping[System, Sequence[Item]]
    costs: Mapping[System, Cost]

    @property
    def name(self) -> str:
        """Hash of all that was asked."""
        tasks = [[task.name, task.hash, task.domain, [example.id for example in task.test]] for task in self.tasks]
        systems = [asdict(system) for system in self.items]
        options = [asdict(self.conditions), asdict(self.routing)]
        return content_hash([self.snapshot, *options, tasks, systems, self.reference])


def evaluate(
    options: EvaluateOptions,
    snapshot: Snapshot,
    parts: RouterParts,
    stored: Sequence[Task],
    make: MakeAnswers,
    conditions: Conditions,
) -> Evaluation:
    """Route, answer and score the test items by every system. Killed, it goes on where it was.

    Args:
        options: what is evaluated.
        snapshot: what routes.
        parts: what its routers are built from.
        stored: all tasks that are known, with their test items.
        make: gives the answers.
        conditions: what decides outputs here.

    Raises:
        SettingError: a router, composition, setting, task or reference does not exist. TaskError: no test items.
    """
    systems = systems_of(options.routers, options.compositions, options.settings)
    reference = reference_of(systems, options.reference)
    tasks = tasks_with_items(stored, parts.index.tasks, options.tasks, options.items)
    judge = _Judge(make, conditions, RouteFormats(snapshot, parts.index), tasks)
    routed = _routes(parts, snapshot, tasks, systems)
    items: dict[System, list[Item]] = {}
    costs: dict[System, Cost] = {}
    with stage("evaluate", sum(len(task.test) for task in tasks) * len(systems), "answers") as advance:
        for system in systems:
            items[system], costs[system] = judge.items(system, routed[system.setting, system.router], advance)
    return Evaluation(snapshot.id, conditions, parts.options, tuple(tasks), reference, items, costs)


def tasks_with_items(
    stored: Sequence[Task], published: Sequence[str], wanted: Sequence[str], items: int | None
) -> list[Task]:
    """The tasks to evaluate, by name, their test split cut to its first `items`.

    Args:
        stored: all tasks that are known, with their test items.
        published: names in the snapshot.
        wanted: names, all where empty.
        items: most a task, all where None.

    Raises:
        SettingError: a name that is not in the snapshot. TaskError: a task asked for, or every task, has no test items.
    """
    by_name = {task.name: task for task in stored}
    names = sorted(set(wanted) or set(published))
    check_names("task", names, published)
    without = [name for name in names if name not in by_name or not by_name[name].test]
    if without and (wanted or len(without) == len(names)):
        raise TaskError(f"No test examples: {', '.join(without)}.", "Add some: lorauter tasks add … --test 50.")
    if without:
        say(f"Left out, since they have no test examples: {', '.join(without)}.")
    kept = [by_name[name] for name in names if name not in without]
    return [replace(task, test=task.test[:items]) for task in kept]


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
    routed = {}
    with stage("route", queries * len(wanted), "queries") as advance:
        for setting, name in wanted:
            routed[setting, name] = router.route(ROUTERS[name], setting)
            advance(queries)
    return routed


@dataclass(frozen=True, slots=True)
class _Row:
    """A test example with its route. `format`: that it is asked in; None: its task's own template."""

    task: Task
    example: Example
    route: Routed
    format: FilledFormat | None

    def work(self, composition: str) -> Work:
        """The item as it is answered: its task's own bound, its options where they are to be weighed."""
        task, example = self.task, self.example
        mixture, served_as = _plainest(*served(self.route, composition), composition)
        return Work(
            prompt=(self.format or task).prompt(example.input),
            mixture=mixture,
            max_new_tokens=task.max_new_tokens,
            task=task.name,
            example=example.id,
            options=example.options if METRICS[task.metric].needs == "option_logprobs" else (),
            composition=served_as,
        )

    @property
    def stops(self) -> tuple[str, ...]:
        """What ends its texts, beside what ends all."""
        return self.format.stops if self.format else ()

    def item(self, work: Work, answer: Answer) -> Item:
        """The row with its answer."""
        example, metric = self.example, METRICS[self.task.metric]
        return Item(
            task=self.task.name,
            example=example.id,
            mixture=work.mixture,
            tasks=tuple(match.task for match in self.route.tasks if match.weight > 0),
            answer=answer,
            score=0.0 if isinstance(answer, Failed) else metric.score(answer, example.target, example.options),
            gated=isinstance(self.route, GatedRoute),
            format=self.format.name if self.format else None,
        )


class _Judge:
    """Answers test items by routes and compositions, and scores them."""

    def __init__(self, make: MakeAnswers, conditions: Conditions, formats: RouteFormats, tasks: Sequence[Task]) -> None:
        self._make, self._conditions, self._formats, self._tasks = make, conditions, formats, tasks

    def items(self, system: System, routed: SettingRoutes, advance: Advance) -> tuple[list[Item], Cost]:
        """A system's items, and what was newly spent on them."""
        began, composition = time.perf_counter(), spelled(system.composition)
        rows = self._rows(routed.routes)
        work = [row.work(composition) for row in rows]
        conditions = [ended_by(row.stops, self._conditions, wanted) for row, wanted in zip(rows, work, strict=True)]
        answers, new = make_each(self._make, work, conditions, advance)
        seconds = (time.perf_counter() - began) / new if new else None
        cost = Cost(new, routed.seconds / len(work), seconds, 1 + routed.passes)
        return [row.item(wanted, answer) for row, wanted, answer in zip(rows, work, answers, strict=True)], cost

    def _rows(self, routes: Mapping[str, Sequence[Routed]]) -> list[_Row]:
        """The test examples of all tasks, each in the format of its route's leader."""
        return [
            _Row(task, example, route, self._formats.of(route, task.name))
            for task in self._tasks
            for example, route in zip(task.test, routes[task.name], strict=True)
        ]


def _plainest(mixture: Mixture, served_as: str, composition: str) -> tuple[Mixture, str]:
    """What a composition makes no new adapter of is an output mixture, and shares the answers of those."""
    if not composition or served_as != composition:
        return mixture, served_as
    composed = read_spelled(composition).compose(mixture)
    return (mixture, served_as) if composed.merge else (composed.mixture, "")
