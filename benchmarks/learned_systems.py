"""Which systems are judged: controls, learned routers and gates, and each of these as it was before its first step.

Knows: how each is made from a catalog's parts. Does not know: how they are trained and judged.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from benchmarks.composites import parts_of_composites
from benchmarks.learned_world import Bench, Make, World
from lorauter.evaluation.settings import NON_OOD, SETTINGS
from lorauter.routers import ROUTERS, RouterParts
from lorauter.routers.task_embedding import TaskEmbeddingRouter
from lorauter.routing.routes import Masked, Route, Routed, Router
from warehouse.plans.plan import Work

LEARNED = ("dlp_lora", "two_stage", "meteora", "ramole", "lora_flow", "mhr", "poly")
BEFORE: Mapping[str, str] = {
    "dlp_lora": "dlp_lora, untrained",
    "two_stage": "two_stage, untrained",
    "meteora": "meteora, untrained",
    "ramole": "even",
    "lora_flow": "lora_flow, untrained",
    "mhr": "base",
    "poly": "base",
}
"""Learned system → what it is before its first step: a state of its own, or the control that this state comes to."""
DRAWN = ("dlp_lora", "meteora")
"""Those whose start depends on the seed."""
SETTING_CONTROLS = ("lorauter", "selection", "even", "uniform", "best single", "base", "arrow")
COMPOSITE_CONTROLS = ("lorauter", "selection", "even", "uniform", "best part", "told", "last part", "base", "arrow")


class _Fixed:
    """One route for every query."""

    def __init__(self, name: str, route: Route) -> None:
        self.name, self._route = name, route

    def route(self, queries: Sequence[str], masked: Masked = None) -> list[Route]:
        return [self._route for _ in queries]


class _Even:
    """LORAUTER's adapters at equal weights, without DoRA: what RAMoLE is before its first step."""

    name = "even"

    def __init__(self, parts: RouterParts) -> None:
        self._lorauter, self._doras = ROUTERS["lorauter"](parts), parts.doras

    def route(self, queries: Sequence[str], masked: Masked = None) -> list[Routed]:
        return [_even(route, self._doras) for route in self._lorauter.route(queries, masked)]


def _even(route: Routed, doras: frozenset[str]) -> Routed:
    keys = [key for key, _weight in route.mixture if key not in doras]
    return Route(tuple((key, 1 / len(keys)) for key in keys), route.tasks, route.confidence)


def best_single(parts: RouterParts) -> Router:
    """The one adapter of the pool with the highest mean over all tasks, of what races met on validation examples."""
    by_adapter: dict[str, list[float]] = {}
    for (_task, adapter), mean in parts.means().items():
        if adapter in parts.pool:
            by_adapter.setdefault(adapter, []).append(mean)
    most = max(len(means) for means in by_adapter.values())
    best = max(sorted(by_adapter), key=lambda key: (len(by_adapter[key]) == most, np.mean(by_adapter[key])))
    return _Fixed("best single", Route(((best, 1.0),)))


def selection(parts: RouterParts) -> Router:
    """The nearest task's adapter alone."""
    return TaskEmbeddingRouter(parts.index, parts.encoder, 1, parts.options.temperature)


CONTROLS: Mapping[str, Make] = {
    **{name: ROUTERS[name] for name in ("lorauter", "uniform", "base", "oracle", "arrow")},
    "selection": selection,
    "even": _Even,
    "best single": best_single,
}


def control_routes(bench: Bench, world: World, name: str) -> tuple[list[Routed], float]:
    """Routes of a control, and its forward passes."""
    if name == "told":
        return _of_tasks(world, lambda task: _told(bench, task)), 0.0
    if name == "best part":
        best = {task.name: best_part(bench, world, task.name) for task in world.tasks}
        return _of_tasks(world, lambda task: Route(((best[task], 1.0),))), 0.0
    if name == "last part":
        return _of_tasks(world, lambda task: Route(((part_adapters(bench, task)[-1], 1.0),))), 0.0
    return bench.routes(world, CONTROLS[name])


def controls_of(world: World) -> tuple[str, ...]:
    """Names of the controls of a world. The oracle stands in non-ood alone, as in `lorauter evaluate`."""
    if world.name not in SETTINGS:
        return COMPOSITE_CONTROLS
    return (*SETTING_CONTROLS, "oracle") if world.name == NON_OOD else SETTING_CONTROLS


def _of_tasks(world: World, route: Callable[[str], Route]) -> list[Routed]:
    return [route(task.name) for task in world.tasks for _ in task.test]


def part_adapters(bench: Bench, task: str) -> tuple[str, ...]:
    """The published adapters of a composite's parts, each once, in the order of the parts."""
    return tuple(dict.fromkeys(bench.published(part) for part in parts_of_composites()[task]))


def _told(bench: Bench, task: str) -> Route:
    keys = part_adapters(bench, task)
    return Route(tuple((key, 1 / len(keys)) for key in keys))


def best_part(bench: Bench, world: World, name: str) -> str:
    """Of the adapters of a composite's parts the one that does best on the composite's validation examples."""
    task = next(task for task in world.tasks if task.name == name)
    keys = part_adapters(bench, name)
    work: list[Work] = [bench.work(task, e, Route(((key, 1.0),))) for key in keys for e in task.validation]
    answers = bench.answers(work)
    count = len(task.validation)
    scores = [
        sum(world.scores(task, answers[place * count : (place + 1) * count], task.validation))
        for place in range(len(keys))
    ]
    return keys[int(np.argmax(scores))]
