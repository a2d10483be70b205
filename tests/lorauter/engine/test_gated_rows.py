"""Gated rows in the engine: beside mixtures and one another, alone as in a batch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from catalog.errors import SettingError, UnsupportedAdapter
from lorauter.engine.decoding import Decoding
from lorauter.engine.engine import Engine
from lorauter.engine.memory_budget import Budget
from lorauter.gates.protocol import GatedRoute, Weighing
from lorauter.routing.routes import Route

pytestmark = pytest.mark.usefixtures("one_thread")

KEYS = ("narrow", "wide", "linear", "pattern", "mlp")
PROMPTS = ["Which colour is the cat?", "north", "red blue dog cat red blue", "Is it?", "a", "Why? Why?"]


@dataclass(frozen=True, eq=False)
class Waves:
    """A gate that every token moves, but not wildly: w_a = cos(a + speed · mean x) / 4."""

    adapters: tuple[str, ...] = KEYS
    speed: float = 1.0
    name: str = "waves"

    def weigh(self, module: str, x: torch.Tensor) -> torch.Tensor:
        return torch.cos(torch.arange(len(self.adapters)) + self.speed * x.mean(-1, keepdim=True)) / 4


@dataclass(frozen=True, eq=False)
class Constant:
    """A gate that says what a mixture says."""

    weights: tuple[float, ...]
    adapters: tuple[str, ...] = KEYS
    name: str = "constant"

    def weigh(self, module: str, x: torch.Tensor) -> torch.Tensor:
        return torch.tensor(self.weights).expand(*x.shape[:-1], -1)


SLOW, FAST = Waves(), Waves(KEYS[::-1], 3.0)
MIXED: list[Weighing] = [SLOW, (("dora", 1.0), ("mlp", 0.5)), FAST, (), SLOW, (("wide", 1.0),)]


def test_constant_weights_are_a_mixture(tiny_engine: Engine) -> None:
    weights = (0.5, -0.3, 0.2, 0.0, 1.5)

    logits = tiny_engine.next_logits(PROMPTS, [Constant(weights)] * 6)

    expected = tiny_engine.next_logits(PROMPTS, [tuple(zip(KEYS, weights, strict=True))] * 6)
    torch.testing.assert_close(logits, expected, atol=1e-5, rtol=1e-4)


def test_rows_of_a_mixed_batch_have_the_logits_that_they_have_alone(tiny_engine: Engine) -> None:
    together = tiny_engine.next_logits(PROMPTS, MIXED)

    alone = [tiny_engine.next_logits([p], [w])[0] for p, w in zip(PROMPTS, MIXED, strict=True)]
    torch.testing.assert_close(together, torch.stack(alone), atol=1e-4, rtol=1e-4)
    bare = tiny_engine.next_logits(PROMPTS, [()] * 6)
    assert [torch.allclose(one, other, atol=1e-5) for one, other in zip(together, bare, strict=True)] == [
        w == () for w in MIXED
    ]


@pytest.mark.parametrize("decoding", [Decoding(), Decoding(temperature=0.9, seed=3)])
def test_texts_of_a_mixed_batch_are_those_of_its_rows_one_by_one(tiny_engine: Engine, decoding: Decoding) -> None:
    limits = [9, 3, 6, 2, 1, 8]  # rows end at different steps, gated ones too

    together = tiny_engine.generate(PROMPTS, MIXED, limits, "", decoding)

    rows = zip(PROMPTS, MIXED, limits, strict=True)
    assert together == [tiny_engine.generate([p], [w], limit, "", decoding)[0] for p, w, limit in rows]


def test_answers_take_gated_routes_beside_others_in_any_order(tiny_engine: Engine) -> None:
    routes = [GatedRoute(w) if isinstance(w, Waves) else Route(w) for w in MIXED]  # type: ignore[arg-type]

    texts = tiny_engine.answer(PROMPTS[::-1], routes[::-1], 5, "", Budget(64, 2))

    assert texts[::-1] == tiny_engine.generate(PROMPTS, MIXED, 5, "")


def test_options_of_gated_rows_are_scored_as_alone(tiny_engine: Engine) -> None:
    options = [["cat", "red and blue"], ["north"], ["a b c", "dog"]]
    routes = [GatedRoute(SLOW), Route(()), GatedRoute(FAST)]

    together = tiny_engine.score_options(PROMPTS[:3], options, routes)

    for row, prompt, given, route in zip(together, PROMPTS[:3], options, routes, strict=True):
        alone = tiny_engine.score_options([prompt], [given], [route])[0]
        assert row.totals == pytest.approx(alone.totals, abs=2e-4)


def test_constant_weights_score_options_as_a_mixture(tiny_engine: Engine) -> None:
    weights, options = (0.5, -0.3, 0.2, 0.0, 1.5), [["cat", "red and blue"], ["north"]]

    found = tiny_engine.score_options(PROMPTS[:2], options, [GatedRoute(Constant(weights))] * 2)

    mixture = Route(tuple(zip(KEYS, weights, strict=True)))
    for one, other in zip(found, tiny_engine.score_options(PROMPTS[:2], options, [mixture] * 2), strict=True):
        assert one.totals == pytest.approx(other.totals, abs=2e-4)


def test_candidates_that_were_dropped_meanwhile_are_read_again(
    tiny_hub_folder: Path, tiny_pool: Callable[[str], Path]
) -> None:
    engine = Engine(tiny_hub_folder / "tiny/llama", device="cpu", dtype="float32", capacity=2, find_adapter=tiny_pool)
    gate = Waves(("narrow", "wide"))
    before = engine.next_logits(["north"], [gate])

    engine.next_logits(["north"], [(("linear", 0.5), ("mlp", 0.5))])

    assert engine.bank.keys == ("linear", "mlp")
    torch.testing.assert_close(engine.next_logits(["north"], [gate]), before)


def test_a_gate_over_more_candidates_than_the_bank_holds_is_refused(
    tiny_hub_folder: Path, tiny_pool: Callable[[str], Path]
) -> None:
    engine = Engine(tiny_hub_folder / "tiny/llama", device="cpu", dtype="float32", capacity=2, find_adapter=tiny_pool)

    with pytest.raises(SettingError, match="needs 5 adapters and the bank holds 2"):
        engine.answer(["north"], [GatedRoute(SLOW)])


def test_a_dora_is_refused_by_name(tiny_engine: Engine) -> None:
    with pytest.raises(UnsupportedAdapter, match="dora: The adapter is a DoRA"):
        tiny_engine.answer(["north"], [GatedRoute(Waves(("narrow", "dora")))])


def test_a_gated_route_is_not_taken_for_the_base() -> None:
    with pytest.raises(SettingError, match="'waves' has no mixture: its weights differ from token to token"):
        _ = GatedRoute(SLOW).mixture
