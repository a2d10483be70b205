"""Routers on an index small enough to work out by hand."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pytest

from catalog.errors import SettingError
from lorauter.routers import ROUTERS, RouterParts
from lorauter.routers.task_embedding import TaskEmbeddingRouter
from lorauter.routing.routes import Route, RouterOptions, TaskMatch, mixture_of
from lorauter.routing.task_index import EncoderId, TaskIndex, TaskInputs

TASKS = ("north", "east", "northeast", "south")


class Compass:
    """An encoder of four known texts: unit vectors of two dimensions."""

    def encode(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        known = {"up": (0, 1), "right": (1, 0), "both": (2**-0.5, 2**-0.5), "down": (0, -1)}
        return np.asarray([known[text] for text in texts], dtype=np.float32)


def _parts(best: tuple[str, ...], options: RouterOptions, truth: dict[str, str] | None = None) -> RouterParts:
    embeddings = np.asarray([(0, 2), (3, 0), (1, 1), (0, -1)], dtype=np.float32)  # means need not have length 1
    index = TaskIndex(
        "base", "sha", TASKS, embeddings, best, (None, "own/east@1", None, None), EncoderId("e", "sha", "hash")
    )
    return RouterParts(index, Compass, _no_inputs, options, truth or {})  # type: ignore[arg-type]


def _no_inputs() -> TaskInputs:
    raise AssertionError("no router here is fitted")


def test_lorauter_weighs_the_top_tasks_by_softmax_of_cosine_over_temperature() -> None:
    parts = _parts(("n@1", "e@1", "ne@1", "s@1"), RouterOptions(top_k=2, temperature=0.5))

    route = ROUTERS["lorauter"](parts).route(["up"])[0]

    cosine = 2**-0.5
    first = 1 / (1 + np.exp((cosine - 1) / 0.5))
    assert [match.task for match in route.tasks] == ["north", "northeast"]
    assert [match.similarity for match in route.tasks] == pytest.approx([1.0, cosine])
    assert dict(route.mixture) == pytest.approx({"n@1": first, "ne@1": 1 - first})
    assert route.confidence == pytest.approx(1.0)


def test_lorauter_adds_up_the_weights_of_tasks_that_share_an_adapter() -> None:
    parts = _parts(("shared@1", "shared@1", "ne@1", "s@1"), RouterOptions(top_k=3, temperature=0.2))

    route = ROUTERS["lorauter"](parts).route(["both"])[0]

    weights = {match.task: match.weight for match in route.tasks}
    assert dict(route.mixture) == pytest.approx(
        {"ne@1": weights["northeast"], "shared@1": weights["north"] + weights["east"]}
    )
    assert sum(weights.values()) == pytest.approx(1.0)


def test_lorauter_leaves_the_weight_of_a_task_that_publishes_the_base_to_the_base() -> None:
    parts = _parts(("", "e@1", "ne@1", "s@1"), RouterOptions(top_k=1))

    assert ROUTERS["lorauter"](parts).route(["up"])[0] == Route((), (TaskMatch("north", 1.0, 1.0),), 1.0)


def test_a_masked_task_gets_no_weight_and_the_others_share_it() -> None:
    parts = _parts(("n@1", "e@1", "ne@1", "s@1"), RouterOptions(top_k=1))
    router = TaskEmbeddingRouter(parts.index, parts.encoder, top_k=1)

    routes = router.route(["up", "up"], masked=["north", None])

    assert [route.mixture for route in routes] == [(("ne@1", 1.0),), (("n@1", 1.0),)]


def test_where_all_but_one_task_are_masked_or_taken_none_counts_twice() -> None:
    parts = _parts(("n@1", "e@1", "ne@1", "s@1"), RouterOptions(top_k=4))

    route = TaskEmbeddingRouter(parts.index, parts.encoder, top_k=4).route(["up"], masked=["north"])[0]

    assert sorted(match.task for match in route.tasks) == sorted(TASKS)
    assert {match.task for match in route.tasks if match.weight == 0} == {"north"}


@pytest.mark.parametrize("name", ["lorauter", "discriminant"])
@pytest.mark.parametrize("options", [RouterOptions(top_k=0), RouterOptions(temperature=0.0)])
def test_constants_that_make_no_sense_are_refused(name: str, options: RouterOptions) -> None:
    with pytest.raises(SettingError, match="too small"):
        ROUTERS[name](_parts(("a@1",) * 4, options))


def test_no_queries_have_no_routes() -> None:
    assert [make(_parts(("a@1",) * 4, RouterOptions())).route([]) for make in ROUTERS.values()] == [[]] * len(ROUTERS)


def test_uniform_mixes_every_published_adapter_once() -> None:
    parts = _parts(("b@1", "a@1", "a@1", ""), RouterOptions())

    assert ROUTERS["uniform"](parts).route(["up"])[0].mixture == (("a@1", 0.5), ("b@1", 0.5))


def test_random_draws_the_same_adapter_for_the_same_query_and_all_of_them_over_many() -> None:
    router = ROUTERS["random"](_parts(("a@1", "b@1", "c@1", ""), RouterOptions()))

    queries = [f"query {n}" for n in range(60)]
    drawn = [route.mixture for route in router.route(queries)]
    assert drawn == [route.mixture for route in router.route(queries)]
    assert set(drawn) == {(("a@1", 1.0),), (("b@1", 1.0),), (("c@1", 1.0),)}


def test_oracle_takes_the_declared_adapter_else_the_published_one() -> None:
    truth = {"up": "north", "right": "east"}
    router = ROUTERS["oracle"](_parts(("n@1", "e@1", "ne@1", "s@1"), RouterOptions(), truth))

    assert [route.mixture for route in router.route(["up", "right"])] == [(("n@1", 1.0),), (("own/east@1", 1.0),)]
    with pytest.raises(SettingError, match="true task of every query"):
        router.route(["down"])


def test_base_adds_nothing() -> None:
    assert ROUTERS["base"](_parts(("a@1",) * 4, RouterOptions())).route(["up"])[0].mixture == ()


def test_a_mixture_has_one_order_and_neither_base_nor_zeros() -> None:
    assert mixture_of({"": 0.5, "b": 0.2, "a": 0.2, "c": 0.3, "d": 0.0}) == (("c", 0.3), ("a", 0.2), ("b", 0.2))
