"""Gates by name: data that a plan holds and the engine opens."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from catalog.errors import SettingError, SnapshotError, UnsupportedAdapter
from lorauter import compositions
from lorauter.engine.engine import Engine
from lorauter.gates.named import GATES, TRAINED, is_spelled, named_gate, read_spelled, spelled
from lorauter.gates.opening import gates_of
from lorauter.gates.protocol import GatedRoute, NamedGate
from lorauter.gates.row_gates import OwnGate
from lorauter.gates.singular_rows import singular_rows_of
from lorauter.gates.spectr import SpectrGate
from lorauter.routers.token_gate import TokenGateRouter
from lorauter.routing.routes import Route
from lorauter.trained.state import TrainedState
from warehouse.plans.plan import Conditions, Work

PROMPTS = ["one day", "the long prompt of another row", "x"]
CANDIDATES = ("linear", "narrow", "wide")


def test_gates_of_one_name_and_the_same_candidates_are_equal_whatever_their_order() -> None:
    one, other = named_gate("arrow", ["b@1", "a@1"]), named_gate("arrow", ["a@1", "b@1", "a@1"])

    assert (one, hash(one)) == (other, hash(other))
    assert one == NamedGate("arrow", ("a@1", "b@1")) != named_gate("lag", ["a@1", "b@1"])


@pytest.mark.parametrize("name", GATES)
def test_a_gates_spelling_is_read_back_and_is_no_compositions(name: str) -> None:
    gate = named_gate(name, CANDIDATES)

    text = spelled(gate)

    assert is_spelled(text) and read_spelled(text, CANDIDATES) == gate
    with pytest.raises(SettingError, match="There is no composition 'gate:"):
        compositions.read_spelled(text)


def test_a_trained_gates_spelling_holds_its_state_and_which_part_of_it_is_meant() -> None:
    gate = named_gate("lora_flow", CANDIDATES, "a1b2", "colours")

    text = spelled(gate)

    assert text == '["gate:lora_flow", {"state": "a1b2", "part": "colours"}]'
    assert read_spelled(text, CANDIDATES) == gate == NamedGate("lora_flow", CANDIDATES, "a1b2", "colours")


@pytest.mark.parametrize("name", sorted(TRAINED))
def test_a_trained_gate_without_a_state_says_how_to_train_it(tiny_engine: Engine, name: str) -> None:
    opened = gates_of(tiny_engine.weights_of, 3)

    with pytest.raises(SettingError, match=f"'{name}' is not trained for this catalog") as caught:
        opened(named_gate(name, CANDIDATES))

    assert caught.value.next_step == f"Train it: lorauter fit {name}."


def test_rows_with_other_candidates_share_the_gate_of_one_state(tiny_engine: Engine) -> None:
    states = {sha: TrainedState({}, {"router": "ramole"}) for sha in ("one", "other")}
    opened = gates_of(tiny_engine.weights_of, 3, states.__getitem__)

    first, again, other = (
        opened(named_gate("ramole", keys, sha))
        for keys, sha in ((["narrow"], "one"), (["wide", "linear"], "one"), (["narrow"], "other"))
    )

    assert isinstance(first, OwnGate) and isinstance(again, OwnGate) and isinstance(other, OwnGate)
    assert (first.gate is again.gate, first.gate is other.gate) == (True, False)
    assert (first.adapters, again.adapters) == (("narrow",), ("linear", "wide"))


def test_a_trained_gate_is_its_state_in_every_key_and_for_every_worker() -> None:
    plain, trained, other = (named_gate("arrow", CANDIDATES, state) for state in ("", "abc", "def"))
    conditions = Conditions("base", "sha", "float32", "1")

    keys = [Work("a", (("x", 1.0),), 3, composition=spelled(gate)).key(conditions) for gate in (plain, trained, other)]

    assert spelled(trained) == '["gate:arrow", {"state": "abc"}]'
    assert spelled(plain) == '["gate:arrow", {}]'
    assert read_spelled(spelled(trained), CANDIDATES) == trained != other
    assert len({*keys}) == 3


def test_a_gate_gets_the_state_that_it_is_named_with(tiny_engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    state = TrainedState({}, {"router": "arrow"})
    asked: list[TrainedState | None] = []
    monkeypatch.setattr(GATES, "built_in", {"arrow": lambda parts: asked.append(parts.state)})
    opened = gates_of(tiny_engine.weights_of, 3, {"abc": state}.__getitem__)

    opened(named_gate("arrow", CANDIDATES, "abc"))
    opened(named_gate("arrow", CANDIDATES))

    assert asked == [state, None]
    with pytest.raises(SettingError, match="The trained state abc is not on this machine"):
        gates_of(tiny_engine.weights_of, 3)(named_gate("arrow", CANDIDATES, "abc"))


def test_no_compositions_spelling_is_a_gates() -> None:
    assert not any(is_spelled(compositions.spelled(name)) for name in compositions.COMPOSITIONS)


def test_a_gate_that_does_not_exist_is_refused() -> None:
    with pytest.raises(SettingError, match="There is no gate 'fifth'"):
        read_spelled('["gate:fifth", {}]', CANDIDATES)


def test_a_named_gate_answers_as_the_gate_itself(tiny_engine: Engine) -> None:
    gate = SpectrGate(CANDIDATES, singular_rows_of(tiny_engine.weights_of))

    named = tiny_engine.score_options(PROMPTS, [["cat"]] * 3, [GatedRoute(named_gate("spectr", CANDIDATES))] * 3)

    assert named == tiny_engine.score_options(PROMPTS, [["cat"]] * 3, [GatedRoute(gate)] * 3)
    assert named != tiny_engine.score_options(PROMPTS, [["cat"]] * 3, [Route(())] * 3)


def test_every_name_opens_once_as_the_gate_of_that_name(tiny_engine: Engine) -> None:
    opened = gates_of(tiny_engine.weights_of, 3)

    for name in ("arrow", "spectr", "lag"):
        gate = opened(named_gate(name, CANDIDATES))
        assert (gate.name, gate.adapters) == (name, CANDIDATES)
        assert opened(named_gate(name, CANDIDATES)) is gate


def test_what_a_gate_refuses_it_refuses_by_name(tiny_engine: Engine) -> None:
    opened = gates_of(tiny_engine.weights_of, 3)

    with pytest.raises(UnsupportedAdapter, match=r"narrow: The adapter's A at .* is not that of linear"):
        opened(named_gate("seqr", CANDIDATES))
    with pytest.raises(UnsupportedAdapter, match="dora: The adapter is a DoRA"):
        opened(named_gate("arrow", ["dora", "wide"]))


def test_more_candidates_than_the_engine_holds_name_the_setting(tiny_engine: Engine) -> None:
    gate = named_gate("arrow", [f"a{n}" for n in range(tiny_engine.bank.capacity + 1)])

    with pytest.raises(SettingError) as caught:
        tiny_engine.generate(["x"], [gate], 1)

    assert "LORAUTER_CAPACITY" in caught.value.next_step


def test_a_gate_without_candidates_leaves_queries_to_the_base() -> None:
    assert TokenGateRouter(named_gate("arrow", [])).route(["a", "b"]) == [Route(()), Route(())]


def test_routers_are_named_without_torch() -> None:
    told = "import sys, lorauter.routers; print('torch' in sys.modules)"

    assert subprocess.check_output([sys.executable, "-c", told], text=True) == "False\n"


@pytest.mark.parametrize(
    ("name", "tensors", "facts", "cause"),
    [
        ("meteora", {"m": (2, 4)}, {"adapters": list(CANDIDATES)}, r"m has the shape \(2, 4\), not \(3, None\)"),
        ("ramole", {"m.a": (2, 4)}, {}, "m.b is missing"),
        ("ramole", {"m.a": (2, 4), "m.b": (4, 3)}, {}, r"m.b has the shape \(4, 3\), not \(None, 2\)"),
        ("lora_flow", {}, {}, "its facts name no candidates"),
        (
            "lora_flow",
            {"t|b.1.w": (2, 4)},
            {"candidates": {"t": ["narrow"]}},
            r"has the shape \(2, 4\), not \(1, None\)",
        ),
        ("lora_flow", {"u|b.1.b": (1,)}, {"candidates": {"t": ["narrow"]}}, r"has the shape \(1,\), not \(0,\)"),
    ],
)
def test_a_state_that_does_not_fit_together_is_refused(
    tiny_engine: Engine, name: str, tensors: dict[str, tuple[int, ...]], facts: dict[str, object], cause: str
) -> None:
    made = {tensor: np.zeros(shape, dtype=np.float32) for tensor, shape in tensors.items()}
    opened = gates_of(tiny_engine.weights_of, 3, {"abc": TrainedState(made, {"router": name, **facts})}.__getitem__)

    with pytest.raises(SnapshotError, match=cause):
        opened(named_gate(name, CANDIDATES, "abc", "t"))
