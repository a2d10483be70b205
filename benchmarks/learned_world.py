"""What learned routers are judged on: tasks of a catalog in three settings, composites; how these are answered.

Knows: a refreshed home, its engine, worlds, states by seed. Does not know: which systems are judged, figures.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path

from benchmarks.composites import composite_tasks, parts_of_composites, score_parts, three_in_turn
from catalog.tasks.answer import Answer
from catalog.tasks.controls import scores_of
from catalog.tasks.task import Example, Task
from flows.evaluate.evaluate import tasks_with_items
from flows.fit.fit import FitOptions, fit_routers
from flows.fit.states import States
from flows.home.home import Home
from flows.home.parts import (
    adapter_folder,
    conditions_on,
    fit_parts,
    ledger_of,
    model_folder,
    plans_of,
    router_parts,
    states_of,
    tasks_on,
)
from flows.outputs.outputs import Outputs, run_shard
from lorauter.adapters.weights import JUDGED, AdapterWeights
from lorauter.compositions.serving import served
from lorauter.engine.engine import Engine
from lorauter.evaluation.remembering import Remembering
from lorauter.evaluation.settings import NON_OOD, SETTINGS, Asked, SettingRouter
from lorauter.routers import RouterParts
from lorauter.routing.routes import Routed, Router
from lorauter.train.fit import FitParts, examples_hash
from lorauter.train.found_states import catalog_of
from lorauter.trained.state import TrainedState
from warehouse.plans.plan import Work
from warehouse.snapshots.snapshot import current_snapshot
from warehouse.storage.storage import FolderStorage

THREE, TURN, TWO = "three_in_one", "three_in_turn", "two_in_one"
COMPOSITE_ITEMS = 2
"""Times as many items of a composite task, of which there are fewer."""
NOTHING = 1e-6
"""Seconds of a training that makes no step: its state is the start."""
Scores = dict[str, list[float]]
"""Task → the score of each item."""
Make = Callable[[RouterParts], Router]


@dataclass(frozen=True, slots=True)
class World:
    """Tasks whose test examples are asked.

    Args:
        name: one of SETTINGS for the catalog's own tasks, else THREE, TURN or TWO.
        setting: what a router may know of a query's task.
        tasks: their test split cut to what is asked.
    """

    name: str
    setting: str
    tasks: tuple[Task, ...]

    def scores(self, task: Task, answers: Sequence[Answer], examples: Sequence[Example]) -> list[float]:
        """Of each answer; composites are scored part by part."""
        if self.name in (*SETTINGS, TURN):
            return scores_of(task, answers, examples)
        pairs = zip(answers, examples, strict=True)
        return [score_parts(task, a, e.target) if isinstance(a, str) else 0.0 for a, e in pairs]


class Bench:
    """A home, opened once: routes, answers and scores; states that are trained on it.

    Args:
        home: refreshed. Answers and trained states are kept in it.
        work: folder of starting states and of trainings begun.
        items: test examples a task.
        seconds: of one training.
    """

    def __init__(self, home: Home, work: Path, items: int, seconds: float) -> None:
        self.home, self._work, self._items, self._seconds = home, work, items, seconds
        self.snapshot = current_snapshot(home.snapshots)
        parts = router_parts(home, self.snapshot)
        self.encoder = Remembering.loaded(parts.encoder)
        self.parts = replace(parts, encoder=lambda: self.encoder, engine=lambda: self.engine)
        self.index = parts.index
        self.conditions = conditions_on(home, self.index.base, self.index.base_sha)
        self.made: dict[str, AdapterWeights] = {}
        self._states, self._starts = states_of(home), States(FolderStorage(work / "starts"), home.snapshots)
        self._kept: dict[str, TrainedState] = {}

    @cached_property
    def worlds(self) -> dict[str, World]:
        """By name; composites are there where the catalog has the tasks of all their parts."""
        stored = tasks_on(self.home, self.index.base, self.index.base_sha)
        own = tuple(tasks_with_items(stored, self.index.tasks, (), self._items))
        worlds = {setting: World(setting, setting, own) for setting in SETTINGS}
        parts = parts_of_composites()
        if {part for names in parts.values() for part in names} <= set(self.index.tasks):
            items = COMPOSITE_ITEMS * self._items
            tasks = [replace(task, test=task.test[:items]) for task in (*composite_tasks(), *three_in_turn())]
            for name in (THREE, TURN, TWO):
                worlds[name] = World(name, NON_OOD, tuple(task for task in tasks if task.domain == name))
        return worlds

    @cached_property
    def engine(self) -> Engine:
        """On the catalog's base; knows the states of this bench and the adapters that it made."""
        folder = model_folder(self.home, self.index.base, self.index.base_sha)
        return Engine(
            folder,
            dtype=self.conditions.dtype,
            find_adapter=lambda key: self.made.get(key) or adapter_folder(self.home, key),
            passing=JUDGED,
            read_state=self._read,
        )

    def published(self, task: str) -> str:
        """The key of a task's published adapter."""
        return self.index.best[self.index.tasks.index(task)]

    def keep(self, state: TrainedState) -> TrainedState:
        """Let the engine find a state."""
        self._kept[state.sha] = state
        return state

    def _read(self, sha: str) -> TrainedState:
        return self._kept[sha] if sha in self._kept else self._states.read(sha)

    def state(self, router: str, seed: int, start: bool) -> tuple[TrainedState, Mapping[str, object]]:
        """A trained state, or the same before its first step, trained now where it is not stored; and what it took."""
        states = self._starts if start else self._states
        options = FitOptions((router,), NOTHING if start else self._seconds, seed)
        begun = self._work / ("begun-starts" if start else "begun")
        published = catalog_of(self.snapshot, self.index, examples_hash(self._fit_parts.tasks))
        (fitted,) = fit_routers(lambda: self._fit_parts, published, states, begun, options)
        facts = next(path for path in states.files(fitted.name).values() if path.suffix == ".json")
        state = self.keep(TrainedState.read(facts.parent, fitted.name))
        cost = {
            "seconds": states.took(fitted.name).get("seconds"),
            "bytes": len(state.bytes),
            **{name: state.facts.get(name) for name in ("steps", "best_step", "ended")},
        }
        return state, cost

    @cached_property
    def _fit_parts(self) -> FitParts:
        return replace(fit_parts(self.home, self.snapshot, self.index.base), encoder=lambda: self.encoder)

    @property
    def fit_parts(self) -> FitParts:
        """What is trained from."""
        return self._fit_parts

    def routes(self, world: World, make: Make, state: TrainedState | None = None) -> tuple[list[Routed], float]:
        """A router's routes of a world's items, task by task, and its forward passes a query beside the answer's."""
        parts = self.parts if state is None else replace(self.parts, state=lambda _name: state)
        asked = [
            Asked(task.name, tuple(e.input for e in task.test), tuple(task.prompt(e.input) for e in task.test))
            for task in world.tasks
        ]
        routed = SettingRouter(parts, self.snapshot, asked).route(make, world.setting)
        return [route for task in world.tasks for route in routed.routes[task.name]], routed.passes

    def judged(self, world: World, routes: Sequence[Routed]) -> Scores:
        """Scores of a world's items, by their routes in `routes`' order; answers that the ledger has are not made."""
        items = [(task, example) for task in world.tasks for example in task.test]
        work = [self.work(task, example, route) for (task, example), route in zip(items, routes, strict=True)]
        answers = self.answers(work)
        scores: Scores = {}
        for (task, example), answer in zip(items, answers, strict=True):
            scores.setdefault(task.name, []).extend(world.scores(task, [answer], [example]))
        return scores

    def work(self, task: Task, example: Example, route: Routed) -> Work:
        """An item as it is answered: in its task's own template."""
        mixture, served_as = served(route, "")
        prompt = task.prompt(example.input)
        return Work(prompt, mixture, task.max_new_tokens, task.name, example.id, composition=served_as)

    def answers(self, work: Sequence[Work]) -> list[Answer]:
        """In the order of `work`."""
        return Outputs(ledger_of(self.home), plans_of(self.home), 256, self._run).ensure(
            work, self.conditions, lambda _: None
        )[0]

    def _run(self, plan: str, shards: Sequence[int]) -> Iterator[int]:
        make = partial(run_shard, ledger_of(self.home), plans_of(self.home), lambda *_base: self.engine)
        for number in shards:
            make(plan, number)
            yield number

    def timed(self, prompts: Sequence[str], routes: Sequence[Routed], tokens: int) -> float:
        """Seconds of a batch of answers that nothing remembers."""
        began = time.perf_counter()
        self.engine.answer(prompts, routes, tokens)
        return time.perf_counter() - began
