"""LoraHub's search on a tiny base, and the router over what it learned."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from catalog.errors import SettingError, SnapshotError
from lorauter.engine.engine import Engine
from lorauter.routers import RouterParts
from lorauter.routers.lorahub import LearnedMixtures, LoraHubRouter, labelled
from lorauter.routers.mixture_search import Labelled, SearchOptions, drawn, loss_of, search_mixture
from lorauter.routing.routes import Mixture, Route, RouterOptions, TaskMatch
from lorauter.routing.task_index import TaskIndex, TaskInputs

pytestmark = pytest.mark.usefixtures("one_thread")

KEYS = ("narrow", "wide", "dora")
PROMPTS = ("Which colour is the cat?", "north", "red blue dog", "Is it?", "a dog")


@pytest.fixture(scope="module")
def examples(tiny_engine: Engine) -> list[Labelled]:
    """Targets that one of the adapters writes."""
    texts = tiny_engine.generate(PROMPTS, [(("wide", 1.0),)] * 5, 4, stop="")
    return [Labelled(prompt, text) for prompt, text in zip(PROMPTS, texts, strict=True)]


def test_the_loss_is_the_targets_cross_entropy_and_the_penalty(tiny_engine: Engine, examples: list[Labelled]) -> None:
    weights = {"narrow": 0.5, "wide": -1.0, "dora": 0.0}

    loss = loss_of(tiny_engine, weights, examples, 0.05)

    route = Route((("narrow", 0.5), ("wide", -1.0)))
    alone = [tiny_engine.score_options([e.prompt], [[e.target]], [route])[0] for e in examples]
    mean = sum(score.totals[0] for score in alone) / sum(score.tokens[0] for score in alone)
    assert loss == pytest.approx(-mean + 0.05 * 1.5 / 3, abs=1e-4)


def test_the_search_finds_a_mixture_that_explains_the_examples_better_than_the_base(
    tiny_engine: Engine, examples: list[Labelled]
) -> None:
    mixture = search_mixture(tiny_engine, KEYS, examples)

    weights = dict.fromkeys(KEYS, 0.0) | dict(mixture)
    assert max(weights, key=weights.__getitem__) == "wide"
    assert max(map(abs, weights.values())) <= 1.5
    base = loss_of(tiny_engine, dict.fromkeys(KEYS, 0.0), examples, 0.05)
    assert loss_of(tiny_engine, weights, examples, 0.05) < base


def test_a_search_is_a_function_of_its_arguments(tiny_engine: Engine, examples: list[Labelled]) -> None:
    options = SearchOptions(steps=12, seed=4)

    found = search_mixture(tiny_engine, KEYS, examples, options)

    np.random.seed(1)
    assert search_mixture(tiny_engine, KEYS[::-1], examples, options) == found


def test_of_many_adapters_the_seed_draws_some() -> None:
    pool = [f"org/{n}@1" for n in range(50)]

    first, other = drawn(pool, SearchOptions(seed=1)), drawn(pool, SearchOptions(seed=2))

    assert (len(first), set(first) < set(pool), first != other) == (20, True, True)
    assert drawn(pool[::-1], SearchOptions(seed=1)) == first
    assert drawn(pool[:3], SearchOptions()) == tuple(pool[:3])


@pytest.mark.parametrize("wrong", [{"steps": 0}, {"adapters": 0}, {"bound": 0}, {"penalty": -1}])
def test_constants_that_make_no_sense_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(SettingError, match="makes no sense"):
        SearchOptions(**wrong)


def test_a_search_needs_adapters_and_examples(tiny_engine: Engine, examples: list[Labelled]) -> None:
    with pytest.raises(SettingError, match="needs adapters and labelled examples"):
        search_mixture(tiny_engine, [], examples)
    with pytest.raises(SettingError, match="needs adapters and labelled examples"):
        search_mixture(tiny_engine, KEYS, [])


class Nearest:
    """Sends every query to the task of its own name."""

    name = "nearest"

    def route(self, queries: Sequence[str], masked: object = None) -> list[Route]:
        return [Route((("ignored", 1.0),), (TaskMatch(query, 0.7, 1.0),), 0.7) for query in queries]


def test_a_query_gets_the_mixture_of_its_nearest_task() -> None:
    mixtures: dict[str, Mixture] = {"colours": (("wide", 0.4), ("narrow", -0.2)), "ways": ()}

    routes = LoraHubRouter(Nearest(), mixtures.__getitem__).route(["ways", "colours"])

    assert routes == [
        Route((), (TaskMatch("ways", 0.7, 1.0),), 0.7),
        Route(mixtures["colours"], (TaskMatch("colours", 0.7, 1.0),), 0.7),
    ]


def inputs_of(targets: tuple[str | None, ...]) -> TaskInputs:
    texts = tuple(f"text {n}" for n in range(len(targets)))
    owners = np.asarray([n % 2 for n in range(len(targets))], dtype=np.int64)
    return TaskInputs(texts, owners, np.zeros((len(texts), 2), dtype=np.float32), targets, ("{input} =", "Q: {input}"))


def test_a_tasks_examples_are_its_own_in_its_own_template() -> None:
    inputs = inputs_of(tuple(f"target {n}" for n in range(20)))

    found = labelled(inputs, 1, seed=0)

    assert len(found) == 5
    assert set(found) < {Labelled(f"Q: text {n}", f"target {n}") for n in range(1, 20, 2)}
    assert (labelled(inputs, 1, seed=0), labelled(inputs, 1, seed=1) != found) == (found, True)


def test_a_snapshot_from_before_targets_were_kept_says_what_to_do() -> None:
    with pytest.raises(SnapshotError, match="holds no targets") as caught:
        labelled(inputs_of((None, None)), 0, seed=0)
    assert "publish again" in caught.value.next_step


def test_a_mixture_is_learned_once_for_a_task_and_its_candidates(tiny_engine: Engine) -> None:
    unused: Any = None
    names = TaskIndex("base", "sha", ("even", "odd"), unused, ("", ""), (None, None), unused)
    inputs = inputs_of(("north", "red", "south", "blue"))
    parts = RouterParts(
        names, unused, lambda: inputs, RouterOptions(), {}, pool=("narrow", "wide"), engine=lambda: tiny_engine
    )
    few = SearchOptions(steps=6)
    router = LoraHubRouter(Nearest(), LearnedMixtures(parts, few), LearnedMixtures(parts, few).spent)

    first = router.route(["odd"])[0]

    assert first.mixture == search_mixture(tiny_engine, parts.pool, labelled(inputs, 1, seed=0), few)
    assert router.passes == 6 * 2  # two examples, one query
    assert router.route(["odd"])[0] == first
    assert LearnedMixtures(replace(parts, pool=("wide",)), few)("odd") != first.mixture
    assert router.passes == (6 * 2 + 6 * 2) / 2
