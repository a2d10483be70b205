"""What packages bring may be wrong in any way: the error names the package and what to do, nothing of it goes on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import torch

from catalog.errors import PluginError
from catalog.plugins import Origin
from catalog.tasks.metrics import METRICS, Metric
from lorauter.compositions import COMPOSITIONS
from lorauter.compositions.base import Composed, CompositionOptions, Merge
from lorauter.gates.named import GATES
from lorauter.gates.protocol import GateParts
from lorauter.racing.strategies import STRATEGIES, Problem, Step, StrategyOptions, nothing_seen
from lorauter.routers import ROUTERS, RouterParts
from lorauter.routing import RouterOptions
from lorauter.routing.routes import Question, Route, TaskMatch, routes_of
from lorauter.routing.task_index import EncoderId, TaskIndex

PLACE = "The thing 'odd' of oddities 1.0 (entry point odd:thing)"
ORIGIN = Origin(PLACE, "oddities")
INDEX = TaskIndex("b", "s", ("ways",), np.eye(1, dtype=np.float32), ("w@1",), (None,), EncoderId("", "", ""))


def raises(*_: object, **__: object) -> Any:
    """Code of a package that has a mistake."""
    raise ZeroDivisionError("by zero")


def guarded(registry: Any, brought: Any) -> Any:
    """What the registry makes of what a package brings."""
    return registry._guarded(brought, ORIGIN)


def blamed(what: str) -> str:
    """The error's whole text."""
    return f"{PLACE} {what}. Update the package or mend it, or uninstall it: pip uninstall oddities."


@dataclass
class Routing:
    """A router that says the same of whatever it is asked."""

    routes: Any
    name: str = "odd"

    def route(self, queries: Any, masked: Any = None) -> Any:
        return self.routes() if callable(self.routes) else self.routes


def route_one(routes: Any) -> Any:
    parts = RouterParts(INDEX, raises, raises, RouterOptions(), truth={}, pool=("p@1",))
    return routes_of(guarded(ROUTERS, lambda _parts: Routing(routes))(parts), [Question("x")])


@pytest.mark.parametrize(
    ("routes", "told"),
    [
        ([], "gives 0 routes for 1 queries"),
        ([Route((("w@1", 1.0),))] * 2, "gives 2 routes for 1 queries"),
        ([Route((("w@1", float("nan")),))], "weighs w@1 by nan"),
        ([Route((("gone@1", 1.0),))], "weighs the adapter 'gone@1', which is neither published nor in the pool"),
        ([Route((), (TaskMatch("none", 1.0, 1.0),))], "names the task 'none', which the snapshot does not have"),
        ([None], "gives no routes (AttributeError: 'NoneType' object has no attribute 'mixture')"),
        (None, "gives no routes (TypeError: 'NoneType' object is not iterable)"),
        (raises, "fails (ZeroDivisionError: by zero)"),
    ],
)
def test_a_router_that_talks_nonsense_is_named(routes: Any, told: str) -> None:
    with pytest.raises(PluginError) as raised:
        route_one(routes)

    assert str(raised.value) == blamed(told)


def test_a_router_that_cannot_be_made_is_named() -> None:
    with pytest.raises(PluginError) as raised:
        guarded(ROUTERS, raises)(None)

    assert str(raised.value) == blamed("fails (ZeroDivisionError: by zero)")


def test_sound_routes_pass_as_they_are() -> None:
    routes = [Route((("p@1", 0.5), ("w@1", 0.5)), (TaskMatch("ways", 1.0, 1.0),), 1.0)]

    assert route_one(routes) is routes


@pytest.mark.parametrize(
    ("rule", "told"),
    [
        (raises, "fails (ZeroDivisionError: by zero)"),
        (lambda _text, _target: 2.0, "gives 2.0, and a score is a number from 0 to 1"),
        (lambda _text, _target: float("nan"), "gives nan, and a score is a number from 0 to 1"),
        (
            lambda _text, _target: None,
            "fails (TypeError: '<=' not supported between instances of 'int' and 'NoneType')",
        ),
    ],
)
def test_a_metric_that_gives_no_score_is_named(rule: Callable[..., Any], told: str) -> None:
    metric = guarded(METRICS, Metric("odd", "text", rule))

    with pytest.raises(PluginError) as raised:
        metric.score("a", "b")

    assert str(raised.value) == blamed(told)


@dataclass
class Stepping:
    """A strategy that always says the same."""

    step: Any
    name: str = "odd"
    reads_likeness: bool = False

    def next(self, problem: Any, seen: Any) -> Any:
        return self.step()


def step(counts: Any, picks: Any = (0,), why: Any = raises) -> Callable[[], Step]:
    return lambda: Step(np.asarray(counts), np.asarray(picks), why)


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (raises, "fails (ZeroDivisionError: by zero)"),
        (step([[9, 9]]), "asks for 9 examples, and a task has 4 at most"),
        (step([[1]]), "asks for counts of (1, 1) int64, and there are (1, 2) tasks and adapters"),
        (step([[1.0, 2.0]]), "asks for counts of (1, 2) float64, and there are (1, 2) tasks and adapters"),
        (step([[1, 1]], [2]), "picks [2] of 2 adapters"),
        (lambda: None, "fails (AttributeError: 'NoneType' object has no attribute 'counts')"),
    ],
)
def test_a_strategy_that_asks_for_what_there_is_not_is_named(said: Any, told: str) -> None:
    problem = Problem(np.asarray([4]), 2)
    strategy = guarded(STRATEGIES, lambda _options: Stepping(said))(StrategyOptions())

    with pytest.raises(PluginError) as raised:
        strategy.next(problem, nothing_seen(problem))

    assert str(raised.value) == blamed(told)


def test_a_strategys_reason_that_fails_is_named() -> None:
    problem = Problem(np.asarray([4]), 2)
    strategy = guarded(STRATEGIES, lambda _options: Stepping(step([[1, 1]])))(StrategyOptions())

    with pytest.raises(PluginError, match="ZeroDivisionError: by zero"):
        strategy.next(problem, nothing_seen(problem)).why(0, 0)


@dataclass
class Composing:
    """A composition that always gives the same."""

    composed: Any
    name: str = field(default="odd")

    def compose(self, mixture: Any) -> Any:
        return self.composed()


@pytest.mark.parametrize(
    ("composed", "told"),
    [
        (raises, "fails (ZeroDivisionError: by zero)"),
        (lambda: Composed((("b@1", 1.0),)), "serves 'b@1' at weight 1.0, and the route has ['a@1']"),
        (lambda: Composed((("a@1", float("inf")),)), "serves 'a@1' at weight inf, and the route has ['a@1']"),
        (lambda: None, "fails (AttributeError: 'NoneType' object has no attribute 'merge')"),
    ],
)
def test_a_composition_that_fails_is_named(composed: Any, told: str) -> None:
    composition = guarded(COMPOSITIONS, lambda _options: Composing(composed))(CompositionOptions())

    with pytest.raises(PluginError) as raised:
        composition.compose((("a@1", 1.0),))

    assert str(raised.value) == blamed(told)


def test_a_merge_that_fails_when_it_is_made_is_named() -> None:
    merge = Merge("odd:1", (("a@1", 1.0),), raises)
    made = guarded(COMPOSITIONS, lambda _options: Composing(lambda: Composed((("odd:1", 1.0),), merge)))

    composed = made(CompositionOptions()).compose((("a@1", 1.0),))

    with pytest.raises(PluginError, match="ZeroDivisionError: by zero"):
        composed.merge.pair([])


@pytest.mark.parametrize(
    ("weights", "told"),
    [
        (torch.ones(1, 3, 2), "gives weights of shape (1, 3, 2), not (1, 3, 1)"),
        (torch.full((1, 3, 1), float("nan")), "gives NaN or infinity as a weight at q_proj"),
    ],
)
def test_a_gate_that_talks_nonsense_is_named(weights: torch.Tensor, told: str) -> None:
    class Gate:
        name, adapters = "odd", ("a@1",)

        def weigh(self, module: str, x: torch.Tensor) -> torch.Tensor:
            return weights

    gate = guarded(GATES, lambda _parts: Gate())(GateParts(("a@1",), raises, raises))

    with pytest.raises(PluginError) as raised:
        gate.weigh("q_proj", torch.ones(1, 3, 8))

    assert str(raised.value) == blamed(told)
