"""Routes of trained gates: which candidates a query gets, where a task is masked, gone, or publishes the base."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from catalog.errors import SettingError
from lorauter.compositions.serving import served
from lorauter.gates.protocol import GatedRoute, NamedGate
from lorauter.routers import ROUTERS, RouterParts
from lorauter.routing.routes import Route, Routed, RouterOptions
from lorauter.routing.task_index import EncoderId, TaskIndex
from lorauter.trained.state import TrainedState

TASKS = ("east", "north", "west", "south")
MEANS = np.asarray([[1, 0], [0.1, 1], [-1, 0], [0, -1]], dtype=np.float32)
QUERIES = {"e": [0.98, 0.2], "n": [0.2, 0.98], "s": [0.2, -0.98]}
CANDIDATES = {"east": ["n@1", "e@1"], "north": ["e@1", "n@1"], "west": ["n@1", "w@1"]}
STATE = TrainedState({}, {"adapters": ["e@1", "n@1", "w@1"], "candidates": CANDIDATES})


class Encoder:
    """Embeds the queries above."""

    def encode(self, texts: list[str]) -> np.ndarray:  # type: ignore[type-arg]
        return np.asarray([QUERIES[text] for text in texts], dtype=np.float32)


@pytest.fixture
def parts() -> RouterParts:
    index = TaskIndex("base", "sha", TASKS, MEANS, ("e@1", "n@1", "w@1", ""), (None,) * 4, EncoderId("", "", ""))
    options = RouterOptions(top_k=2)
    return RouterParts(
        index,
        Encoder,  # type: ignore[arg-type]
        lambda: pytest.fail("not read"),
        options,
        {},
        pool=("d@1", "e@1", "n@1", "w@1", "x@1"),
        doras=frozenset(["d@1"]),
        state=lambda _: STATE,
    )


def gate_of(route: Routed) -> NamedGate | None:
    if isinstance(route, GatedRoute) and isinstance(route.gate, NamedGate):
        return route.gate
    assert route.mixture == ()
    return None


def test_meteora_has_those_candidates_of_its_state_that_are_in_the_pool(parts: RouterParts) -> None:
    whole = ROUTERS["meteora"](parts).route(["e", "n"])
    left = ROUTERS["meteora"](replace(parts, pool=("n@1", "w@1", "x@1"))).route(["e"])

    assert [gate_of(route) for route in whole] == [NamedGate("meteora", ("e@1", "n@1", "w@1"), STATE.sha)] * 2
    assert gate_of(left[0]) == NamedGate("meteora", ("n@1", "w@1"), STATE.sha)


def test_ramole_has_the_published_adapters_of_the_nearest_tasks(parts: RouterParts) -> None:
    routes = ROUTERS["ramole"](parts).route(["e", "n", "s"], [None, "north", None])

    assert [gate_of(route) for route in routes] == [
        NamedGate("ramole", ("e@1", "n@1"), STATE.sha),
        NamedGate("ramole", ("e@1", "w@1"), STATE.sha),  # north is masked
        NamedGate("ramole", ("e@1",), STATE.sha),  # south publishes the base
    ]
    assert [match.task for match in routes[0].tasks] == ["east", "north"]
    assert routes[0].confidence == pytest.approx(0.98, abs=0.01)


def test_ramole_leaves_a_query_without_candidates_to_the_base(parts: RouterParts) -> None:
    bare = replace(parts, index=replace(parts.index, best=("d@1", "d@1", "", "")))

    assert gate_of(ROUTERS["ramole"](bare).route(["e"])[0]) is None


def test_lora_flow_has_the_gate_of_the_nearest_task(parts: RouterParts) -> None:
    routes = ROUTERS["lora_flow"](parts).route(["e", "e", "s"], [None, "east", None])

    assert [gate_of(route) for route in routes] == [
        NamedGate("lora_flow", ("e@1", "n@1"), STATE.sha, "east"),
        NamedGate("lora_flow", ("e@1", "n@1"), STATE.sha, "north"),  # east is masked
        None,  # south has no gate: it publishes the base
    ]


def test_lora_flow_goes_on_without_a_candidate_that_has_gone(parts: RouterParts) -> None:
    left = replace(parts, pool=("n@1", "w@1"))

    assert gate_of(ROUTERS["lora_flow"](left).route(["e"])[0]) == NamedGate("lora_flow", ("n@1",), STATE.sha, "east")


def test_outputs_are_kept_by_state_and_part(parts: RouterParts) -> None:
    route = ROUTERS["lora_flow"](parts).route(["e"])[0]

    mixture, composition = served(route, "")

    assert mixture == (("e@1", 1.0), ("n@1", 1.0))
    assert composition == f'["gate:lora_flow", {{"state": "{STATE.sha}", "part": "east"}}]'


@pytest.mark.parametrize("name", ["meteora", "ramole", "lora_flow"])
def test_an_untrained_gate_says_so_when_it_is_asked(parts: RouterParts, name: str) -> None:
    def untrained(router: str) -> TrainedState:
        raise SettingError(f"{router} is not trained.", "")

    router = ROUTERS[name](replace(parts, state=untrained))

    assert (router.name, router.route([])) == (name, [])
    with pytest.raises(SettingError, match=f"{name} is not trained"):
        router.route(["e"])


def test_a_route_does_not_depend_on_the_other_queries(parts: RouterParts) -> None:
    for name in ("ramole", "lora_flow"):
        router = ROUTERS[name](parts)
        together = router.route(["e", "n", "s"])
        assert [gate_of(router.route([query])[0]) for query in QUERIES] == [gate_of(route) for route in together]
    assert isinstance(ROUTERS["ramole"](parts).route(["s"])[0], GatedRoute | Route)
