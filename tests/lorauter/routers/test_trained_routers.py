"""dlp_lora and two_stage: which tasks are kept, what they weigh, who is chosen, and where there is no state."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from catalog.errors import SettingError, SnapshotError
from lorauter.routers import ROUTERS, RouterParts
from lorauter.routers.dlp_lora import kept_shares, probabilities
from lorauter.routers.two_stage import Catalog
from lorauter.routing.routes import RouterOptions
from lorauter.routing.task_index import EncoderId, TaskIndex, TaskInputs
from lorauter.trained.state import TrainedState

TASKS = ("east", "north", "west")
VECTORS = np.asarray([[1, 0], [0.9, 0.1], [0, 1], [0.1, 0.9], [-1, 0], [-0.9, 0.1]], dtype=np.float32)
TEXTS = ("a b", "a c", "n? m?", "n? o?", "x: 1", "x: 2")


class Encoder:
    """Embeds a text as the validation input that it is."""

    def encode(self, texts: list[str]) -> np.ndarray:  # type: ignore[type-arg]
        return VECTORS[[TEXTS.index(text) for text in texts]]


def parts(state: TrainedState | None = None) -> RouterParts:
    means = VECTORS.reshape(3, 2, 2).mean(axis=1)
    index = TaskIndex("base", "sha", TASKS, means, ("e@1", "n@1", ""), (None,) * 3, EncoderId("", "", ""))
    inputs = TaskInputs(TEXTS, np.repeat(np.arange(3), 2), VECTORS)
    made = RouterParts(index, Encoder, lambda: inputs, RouterOptions(), {}, pool=("e@1", "e@2", "n@1"))  # type: ignore[arg-type]
    return made if state is None else replace(made, state=lambda _: state)


def linear(weights: list[list[float]], outputs: tuple[str, ...] = TASKS) -> TrainedState:
    """A perceptron whose first three layers pass x and -x on, so that its logits are linear in x."""
    both = np.asarray([[1, 0], [-1, 0], [0, 1], [0, -1]], dtype=np.float32)
    last = np.asarray(weights, dtype=np.float32) @ both.T
    layers = [both, np.eye(4, dtype=np.float32), np.eye(4, dtype=np.float32), last]
    tensors = {f"layers.{n}.weight": weight for n, weight in enumerate(layers)}
    tensors |= {f"layers.{n}.bias": np.zeros(len(weight), dtype=np.float32) for n, weight in enumerate(layers)}
    return TrainedState(tensors, {"router": "dlp_lora", "outputs": list(outputs)})


@pytest.mark.parametrize(
    ("probable", "kept"),
    [
        ([0.55, 0.30, 0.15], [0.5622, 0.4378, 0.0]),  # the mass before the third is .85
        ([0.61, 0.30, 0.09], [1.0, 0.0, 0.0]),
        ([0.60, 0.30, 0.10], [0.5744, 0.4256, 0.0]),  # at most p, not below it
        ([0.3, 0.2, 0.3, 0.2], [0.3443, 0.3115, 0.3443, 0.0]),  # .3 + .3 is p: one more comes in
        ([0.0, 1.0, 0.0], [0.0, 1.0, 0.0]),
        ([0.0, 0.0, 0.0], [0.0, 0.0, 0.0]),
    ],
)
def test_tasks_before_which_the_mass_is_at_most_p_weigh_by_a_second_softmax(
    probable: list[float], kept: list[float]
) -> None:
    assert kept_shares(np.asarray([probable])).round(4).tolist() == [kept]


def test_a_masked_tasks_logit_goes_before_the_softmax() -> None:
    logits = np.asarray([[2.0, 1.0, -np.inf], [-np.inf] * 3], dtype=np.float32)

    assert probabilities(logits).round(4).tolist() == [[0.7311, 0.2689, 0.0], [0.0, 0.0, 0.0]]


def test_dlp_lora_routes_by_its_state_and_a_mask_renormalises() -> None:
    router = ROUTERS["dlp_lora"](parts(linear([[3, 0], [0, 3], [-3, 0]])))

    plain, masked = router.route(["a b"])[0], router.route(["a b"], ["east"])[0]

    assert (plain.mixture, plain.tasks[0].task) == ((("e@1", 1.0),), "east")
    assert plain.confidence == pytest.approx(np.exp(3) / (np.exp(3) + 1 + np.exp(-3)))
    assert (masked.mixture, masked.confidence) == ((("n@1", 1.0),), pytest.approx(1 / (1 + np.exp(-3))))


def test_outputs_are_known_by_the_names_of_tasks_and_not_by_their_places() -> None:
    router = ROUTERS["dlp_lora"](parts(linear([[0, 3], [3, 0], [-3, 0]], ("north", "east", "west"))))

    assert router.route(["a b", "n? m?"])[0].mixture == (("e@1", 1.0),)


@pytest.mark.parametrize("name", ["dlp_lora", "two_stage"])
def test_a_router_without_its_state_says_how_it_gets_one(name: str) -> None:
    with pytest.raises(SettingError) as refused:
        ROUTERS[name](parts()).route(["a b"])

    assert refused.value.next_step == f"Train it: lorauter fit {name}."


@pytest.mark.parametrize(
    "outputs", [None, 5, "east", {"east": 1}, ["east"], [["east"], {}], ["east", "north", "west", "west"]]
)
def test_outputs_that_are_no_list_of_the_tasks_are_refused(outputs: object) -> None:
    sound = linear([[1, 0], [0, 1], [-1, 0]])
    lying = TrainedState(sound.tensors, {**sound.facts, "outputs": outputs})
    skilled = TrainedState({}, {"router": "mhr", "outputs": outputs})

    with pytest.raises(SnapshotError, match="'dlp_lora' cannot be used: its fact outputs "):
        ROUTERS["dlp_lora"](parts(lying)).route(["n? m?"])
    with pytest.raises(SnapshotError, match="'mhr' cannot be used: its fact outputs "):
        ROUTERS["mhr"](parts(skilled)).route(["n? m?"])


def test_more_outputs_than_tasks_are_refused() -> None:
    many = linear([[1, 0], [0, 1], [-1, 0], [0, 0]])

    with pytest.raises(SnapshotError, match=r"layers.3.weight has the shape"):
        ROUTERS["dlp_lora"](parts(many)).route(["a b"])


def two_stage_state(catalogs: dict[str, list[str]], scores: list[list[float]]) -> TrainedState:
    """Every landmark is its own axis."""
    tensors = {"projection": np.eye(len(TEXTS), dtype=np.float32)}
    if catalogs:
        tensors |= {"examples.0": np.asarray([0, 1]), "scores.0": np.asarray(scores, dtype=np.float32)}
    return TrainedState(tensors, {"router": "two_stage", "catalogs": catalogs})


def test_two_stage_takes_a_tasks_adapter_that_was_right_on_the_examples_like_the_query() -> None:
    state = two_stage_state({"east": ["e@1", "e@2"]}, [[1.0, 0.0], [0.0, 1.0]])
    one = replace(parts(state), options=RouterOptions(top_k=1))

    routes = ROUTERS["two_stage"](one).route(["a b", "a c", "n? m?", "x: 1"])

    assert [route.mixture for route in routes] == [(("e@1", 1.0),), (("e@2", 1.0),), (("n@1", 1.0),), ()]
    assert [route.tasks[0].task for route in routes] == ["east", "east", "north", "west"]


def test_two_stage_uses_nobody_who_is_gone_and_no_masked_task() -> None:
    state = two_stage_state({"east": ["e@1", "e@2"]}, [[1.0, 0.0], [0.0, 1.0]])
    left = replace(parts(state), pool=("e@1", "n@1"), options=RouterOptions(top_k=1))

    assert ROUTERS["two_stage"](left).route(["a c"])[0].mixture == (("e@1", 1.0),)
    assert ROUTERS["two_stage"](left).route(["a c"], ["east"])[0].tasks[0].task == "north"


def test_in_a_catalog_the_published_one_wins_a_tie() -> None:
    two = Catalog(("best", "a"), np.asarray([0, 1]), np.asarray([[1.0, 0.0], [1.0, 0.0]], dtype=np.float32))
    near = np.asarray([0.5, 0.9], dtype=np.float32)

    assert two.choose(near, frozenset({"a", "best"})) == "best"
    assert two.choose(near, frozenset({"a"})) == "a"
    assert two.choose(near, frozenset()) == ""


@pytest.mark.parametrize(
    ("catalogs", "fault"),
    [
        (None, "its fact catalogs names no tasks, or others"),
        ([], "its fact catalogs names no tasks, or others"),
        ({"south": ["e@1"]}, "its fact catalogs names no tasks, or others"),
        ({"east": "e@1"}, "the catalog of 'east' is no list of adapters"),
        ({"east": [{}, "e@1"]}, "the catalog of 'east' is no list of adapters"),
    ],
)
def test_catalogs_of_a_state_that_lies_are_refused(catalogs: object, fault: str) -> None:
    sound = two_stage_state({"east": ["e@1", "e@2"]}, [[0.0, 1.0], [1.0, 0.0]])

    with pytest.raises(SnapshotError, match=fault):
        ROUTERS["two_stage"](parts(TrainedState(sound.tensors, {**sound.facts, "catalogs": catalogs}))).route(["a b"])


@pytest.mark.parametrize("places", [[0, 2], [-1, 0], [0, 10**9]])
def test_examples_that_are_none_of_the_task_are_refused(places: list[int]) -> None:
    sound = two_stage_state({"east": ["e@1", "e@2"]}, [[0.0, 1.0], [1.0, 0.0]])
    lying = TrainedState({**sound.tensors, "examples.0": np.asarray(places)}, sound.facts)

    with pytest.raises(SnapshotError, match=r"examples.0 are none of 'east'"):
        ROUTERS["two_stage"](parts(lying)).route(["a b"])
