"""Routers that compare texts, on an index small enough to work out by hand: embeddings are points of the compass."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from catalog.errors import SettingError
from lorauter.routers import ROUTERS, RouterParts
from lorauter.routing.routes import Route, RouterOptions, TaskMatch
from lorauter.routing.task_index import EncoderId, TaskIndex, TaskInputs
from lorauter.routing.task_shares import nucleus_of

TASKS = ("east", "north", "west")
DEGREES = ((0, 10), (90, 80), (180, 190))
BEST = ("e@1", "n@1", "w@1")
OWNERS = np.repeat(np.arange(3), 2)


def _unit(degrees: float) -> tuple[float, float]:
    return math.cos(math.radians(degrees)), math.sin(math.radians(degrees))


def _softened(degrees: float) -> float:
    return math.exp(math.cos(math.radians(degrees)) / 0.1)


class Compass:
    """Embeds a number of degrees."""

    def encode(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        return np.asarray([_unit(float(text)) for text in texts], dtype=np.float32)


def _parts(**options: Any) -> RouterParts:
    points = np.asarray([_unit(d) for pair in DEGREES for d in pair], dtype=np.float32)
    means = np.stack([points[task == OWNERS].mean(axis=0) for task in range(3)])
    index = TaskIndex("base", "sha", TASKS, means, BEST, (None,) * 3, EncoderId("e", "sha", "hash"))
    inputs = TaskInputs(tuple(str(d) for pair in DEGREES for d in pair), OWNERS, points)
    scores = {("east", "e@1"): 0.8, ("north", "n@1"): 0.5, ("west", "w@1"): 0.9, ("north", "e@1"): 0.4}
    return RouterParts(
        index,
        Compass,
        lambda: inputs,
        RouterOptions(**options),
        {},
        means=lambda: scores,  # type: ignore[arg-type]
    )


def test_the_nucleus_is_the_fewest_entries_that_reach_it() -> None:
    kept = nucleus_of(np.asarray([[1.0, 6.0, 3.0], [0.0, 1.0, 0.0]]), 0.9)

    assert kept == pytest.approx(np.asarray([[0, 2 / 3, 1 / 3], [0, 1, 0]]))


def test_the_vector_database_adds_up_the_softmax_of_the_nearest_inputs_by_task() -> None:
    route = ROUTERS["vector_database"](_parts(neighbours=3, nucleus=1.0)).route(["46"])[0]

    mass = {"north": _softened(34) + _softened(44), "east": _softened(36)}
    assert {m.task: m.weight for m in route.tasks} == pytest.approx(
        {task: value / sum(mass.values()) for task, value in mass.items()}, rel=1e-4
    )
    assert [m.similarity for m in route.tasks] == pytest.approx([math.cos(math.radians(d)) for d in (34, 36)], rel=1e-5)
    assert route.confidence == pytest.approx(math.cos(math.radians(34)), rel=1e-5)


def test_the_vector_database_retrieves_nothing_of_a_masked_task() -> None:
    route = ROUTERS["vector_database"](_parts(neighbours=2)).route(["5"], ["east"])[0]

    assert route.mixture == (("n@1", 1.0),)


def test_loraretriever_weighs_the_top_tasks_alike_and_the_nearest_is_selected() -> None:
    route = ROUTERS["loraretriever"](_parts(top_k=2)).route(["100"])[0]

    assert [m.task for m in route.tasks] == ["north", "west"]
    assert dict(route.mixture) == pytest.approx({"n@1": 0.5, "w@1": 0.5}, abs=1e-6)
    assert route.mixture[0][0] == "n@1"


def test_loraretriever_shares_among_those_that_are_left_where_a_task_is_masked() -> None:
    route = ROUTERS["loraretriever"](_parts(top_k=3)).route(["100"], ["north"])[0]

    assert dict(route.mixture) == pytest.approx({"w@1": 0.5, "e@1": 0.5}, abs=1e-6)


def test_the_classifier_keeps_the_tasks_that_are_probable() -> None:
    route = ROUTERS["classifier"](_parts()).route(["88"])[0]

    assert route.mixture == (("n@1", 1.0),)
    assert route.tasks == (TaskMatch("north", pytest.approx(route.confidence), 1.0),)
    assert 0.9 < route.confidence < 1


def test_the_classifier_gives_a_masked_tasks_probability_to_the_others() -> None:
    parts = _parts(nucleus=1.0)
    whole = {m.task: m.weight for m in ROUTERS["classifier"](parts).route(["60"])[0].tasks}

    masked = {m.task: m.weight for m in ROUTERS["classifier"](parts).route(["60"], ["north"])[0].tasks}

    assert masked["east"] / masked["west"] == pytest.approx(whole["east"] / whole["west"])
    assert "north" not in masked


def test_clusters_take_the_adapter_of_the_highest_relative_score() -> None:
    routes = ROUTERS["clusters"](_parts(clusters=3, top_k=1)).route(["88", "5", "182"])

    assert [route.mixture for route in routes] == [(("n@1", 1.0),), (("e@1", 1.0),), (("w@1", 1.0),)]
    assert all(route.tasks == () for route in routes)


def test_a_cluster_whose_adapter_is_gone_takes_the_next_best() -> None:
    parts = _parts(clusters=3, top_k=1)
    left = replace(parts, index=replace(parts.index, best=("e@1", "", "w@1")))

    assert ROUTERS["clusters"](left).route(["88"])[0].mixture == (("e@1", 1.0),)


def test_a_cluster_of_a_masked_task_alone_gets_no_weight() -> None:
    router = ROUTERS["clusters"](_parts(clusters=3, top_k=1))

    assert router.route(["88", "88"], ["north", None]) == [
        Route((("e@1", 1.0),), (), pytest.approx(math.cos(math.radians(83)), rel=1e-5)),
        Route((("n@1", 1.0),), (), pytest.approx(math.cos(math.radians(3)), rel=1e-5)),
    ]


@pytest.mark.parametrize("name", ["lorauter", "vector_database", "loraretriever", "classifier"])
def test_a_masked_task_weighs_nothing(name: str) -> None:
    routes = ROUTERS[name](_parts()).route(["2", "88", "185"], TASKS)

    assert [task in {m.task for m in r.tasks if m.weight} for task, r in zip(TASKS, routes, strict=True)] == [False] * 3


def test_options_that_make_no_sense_are_told() -> None:
    with pytest.raises(SettingError, match="nucleus 0"):
        RouterOptions(nucleus=0)
