"""What every router of `ROUTERS` keeps, whatever the tasks: masks, weights, order, light imports."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catalog.errors import SettingError
from lorauter.gates.named import TRAINED
from lorauter.routers import ROUTERS, RouterParts
from lorauter.routing.routes import Route, RouterOptions
from lorauter.routing.task_index import EncoderId, TaskIndex, TaskInputs
from lorauter.trained.state import TrainedState

ASK_THE_BASE = {"logo", "logo_entropy", "lorahub"}
"""They need a model: tests/lorauter/routers/test_logo.py and test_lorahub.py have theirs."""
SKILLS = {"mhr", "poly"}
"""Their adapters are made of the trained state; they have tests of their own."""
KNOW_NO_TASKS = {"uniform", "random", "oracle", "base", "arrow", "spectr", "lag", "seqr", "polar"}
"""Nothing can be masked; the oracle is told the task."""
FITTED = ("dlp_lora", "two_stage")
NAMES = sorted(ROUTERS.keys() - ASK_THE_BASE - TRAINED - SKILLS)  # test_trained_gate_routers.py has those
KNOW_TASKS = sorted({*NAMES} - KNOW_NO_TASKS - {"clusters"})  # its routes name no tasks
EACH = 3  # validation inputs of a task


class Numbered:
    """Embeds the text "n" as the n-th of some vectors."""

    def __init__(self, vectors: npt.NDArray[np.float32]) -> None:
        self._vectors = vectors

    def encode(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        return self._vectors[[int(text) for text in texts]]


def parts_of(best: Sequence[str], seed: int, **options: Any) -> RouterParts:
    """As many tasks as `best` has, each of three validation inputs around a centre of its own."""
    tasks, drawn = len(best), np.random.default_rng(seed)
    vectors = np.repeat(drawn.normal(size=(tasks, 6)), EACH, axis=0) + drawn.normal(size=(tasks * EACH, 6)) / 2
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    owners = np.repeat(np.arange(tasks), EACH)
    names = tuple(f"task {n}" for n in range(tasks))
    means = np.stack([vectors[owners == n].mean(axis=0) for n in range(tasks)])
    index = TaskIndex("base", "sha", names, means, tuple(best), (None,) * tasks, EncoderId("e", "sha", "hash"))
    inputs = TaskInputs(tuple(map(str, range(tasks * EACH))), owners, vectors)
    scores = {(name, key): float(drawn.uniform()) for name in names for key in sorted({*best})}
    return RouterParts(
        index,
        lambda: Numbered(vectors),  # type: ignore[arg-type, return-value]
        lambda: inputs,
        RouterOptions(**options),
        {str(n): names[n // EACH] for n in range(tasks * EACH)},
        means=lambda: scores,
        pool=tuple(sorted({*best} - {""})),
        state=lambda name: drawn_state(name, names, tasks * EACH),
    )


def drawn_state(name: str, tasks: Sequence[str], inputs: int) -> TrainedState:
    """What training could make, drawn: every router keeps its word whatever it learned."""
    drawn, widths = np.random.default_rng(0), (6, 5, 5, 5, len(tasks))
    if name == "two_stage":
        tensors = {"projection": drawn.normal(size=(inputs, 4)).astype(np.float32)}
        return TrainedState(tensors, {"router": name, "catalogs": {}})
    tensors = {}
    for layer, (inner, outer) in enumerate(pairwise(widths)):
        tensors[f"layers.{layer}.weight"] = drawn.normal(size=(outer, inner)).astype(np.float32)
        tensors[f"layers.{layer}.bias"] = drawn.normal(size=outer).astype(np.float32)
    return TrainedState(tensors, {"router": name, "outputs": list(tasks)})


worlds = st.builds(
    lambda best, seed, top_k, neighbours, clusters: parts_of(
        best, seed, top_k=top_k, neighbours=neighbours, clusters=clusters, fallback=0.0
    ),
    st.lists(st.sampled_from(["a@1", "b@1", "c@1", "d@1", ""]), min_size=3, max_size=11),
    st.integers(0, 99),
    st.integers(1, 12),
    st.integers(1, 40),
    st.integers(0, 20),
)


def weight_of(route: Any) -> float:
    return sum(weight for _, weight in route.mixture)


@pytest.mark.parametrize("name", KNOW_TASKS)
@settings(max_examples=10, deadline=None)
@given(parts=worlds, data=st.data())
def test_a_masked_task_weighs_nothing_and_the_others_share_everything(
    name: str, parts: RouterParts, data: st.DataObject
) -> None:
    tasks, queries = parts.index.tasks, parts.inputs().texts
    masked = data.draw(st.lists(st.sampled_from([None, *tasks]), min_size=len(queries), max_size=len(queries)))

    routes = ROUTERS[name](parts).route(queries, masked)

    for route, hidden in zip(routes, masked, strict=True):
        others = {best for task, best in zip(tasks, parts.index.best, strict=True) if task != hidden}
        behind = {match.task: match.weight for match in route.tasks}
        assert behind.get(hidden or "", 0.0) == 0
        assert math.isclose(sum(behind.values()), 1.0) or not behind
        assert all(0 < weight <= 1.0 + 1e-9 for _, weight in route.mixture)
        assert weight_of(route) <= 1.0 + 1e-9
        assert {key for key, _ in route.mixture} <= others


@settings(max_examples=25, deadline=None)
@given(parts=worlds, data=st.data())
def test_clusters_do_not_look_at_a_masked_tasks_scores(parts: RouterParts, data: st.DataObject) -> None:
    queries, hidden = parts.inputs().texts, data.draw(st.sampled_from(parts.index.tasks))
    other = {(task, key): 1 - mean if task == hidden else mean for (task, key), mean in parts.means().items()}

    routes = ROUTERS["clusters"](parts).route(queries, [hidden] * len(queries))

    changed = ROUTERS["clusters"](replace(parts, means=lambda: other))
    assert repr(changed.route(queries, [hidden] * len(queries))) == repr(routes)


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=4, deadline=None)
@given(parts=worlds)
def test_a_route_does_not_depend_on_the_other_queries(name: str, parts: RouterParts) -> None:
    router, queries = ROUTERS[name](parts), parts.inputs().texts

    together = router.route(queries)

    for query, route in zip(queries, together, strict=True):
        alone = router.route([query])[0]
        assert [match.task for match in alone.tasks] == [match.task for match in route.tasks]
        if name not in ("arrow", "spectr", "lag", "seqr"):
            assert dict(alone.mixture) == pytest.approx(dict(route.mixture), abs=1e-5)


@pytest.mark.parametrize("name", sorted({"lorauter", "vector_database", "loraretriever", "clusters"}))
def test_where_the_only_task_is_masked_the_base_answers(name: str) -> None:
    router = ROUTERS[name](parts_of(["a@1"], seed=0))

    masked, free = router.route(["0", "0"], ["task 0", None])

    assert (masked.mixture, {match.weight for match in masked.tasks} - {0.0}) == ((), set())
    assert math.isnan(masked.confidence)
    assert dict(free.mixture) == pytest.approx({"a@1": 1.0})


@pytest.mark.parametrize(("name", "tasks"), [("classifier", 1), ("discriminant", 2)])
def test_a_router_that_tells_tasks_apart_says_how_many_it_needs(name: str, tasks: int) -> None:
    router = ROUTERS[name](parts_of(["a@1"] * tasks, seed=0))

    with pytest.raises(SettingError, match=f"The router {name} needs {tasks + 1} tasks"):
        router.route(["0"])


@pytest.mark.parametrize("name", sorted({"lorauter", "vector_database", "loraretriever", "classifier", *FITTED}))
def test_every_task_may_publish_the_base(name: str) -> None:
    route = ROUTERS[name](parts_of(["", "", ""], seed=0)).route(["0"])[0]

    assert (route.mixture, sum(match.weight for match in route.tasks)) == ((), pytest.approx(1.0))
    assert isinstance(route, Route)


def test_routers_are_registered_under_their_own_names() -> None:
    parts = parts_of(["a@1", "b@1", "c@1"], seed=0)

    assert {name: make(parts).name for name, make in ROUTERS.items()} == {name: name for name in ROUTERS}


def test_knowing_the_routers_loads_no_model_library() -> None:
    heavy = ("torch", "transformers", "sentence_transformers", "sklearn", "nevergrad", "pyarrow", "prefect")
    script = f"import sys, lorauter.routers; print([m for m in {heavy} if m in sys.modules])"

    out = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout

    assert out.strip() == "[]"
