"""Gates whose rows have candidates of their own, and gates that read blocks: beside others in a batch, and alone."""

from __future__ import annotations

import pytest
import torch

from catalog.errors import SettingError, UnsupportedAdapter
from lorauter.engine.bank.own_rows import stack_pays
from lorauter.engine.engine import Engine
from lorauter.gates.blocks import block_of
from lorauter.gates.protocol import GatedRoute, Weighing
from lorauter.gates.row_gates import OwnGate, RowCandidates
from lorauter.routing.routes import Route

pytestmark = pytest.mark.usefixtures("one_thread")

KEYS = ("narrow", "wide", "linear", "pattern", "mlp")
PROMPTS = ["Which colour is the cat?", "north", "red blue dog cat red blue", "Is it?", "a", "Why? Why?"]


class Share:
    """Every row's candidates alike."""

    name = "share"

    def weigh_rows(self, module: str, x: torch.Tensor, own: RowCandidates) -> torch.Tensor:
        return (own.there / own.there.sum(1, keepdim=True))[:, None].expand(-1, x.shape[1], -1)


class Waves:
    """Moved by each token and by what its candidates' A make of it."""

    name = "waves"

    def weigh_rows(self, module: str, x: torch.Tensor, own: RowCandidates) -> torch.Tensor:
        made = own.hidden().sum(-1) + x.mean(-1, keepdim=True)
        return torch.cos(made + torch.arange(own.most)).where(own.there[:, None], 0) / 3


class OfBlock:
    """Moved by what enters the block, in the same way in all of its modules."""

    name = "of block"
    reads_blocks = True

    def __init__(self) -> None:
        self.asked: list[str] = []

    def weigh_rows(self, module: str, x: torch.Tensor, own: RowCandidates) -> torch.Tensor:
        self.asked.append(module)
        return torch.cos(x.mean(-1, keepdim=True) + torch.arange(own.most)).where(own.there[:, None], 0) / 3


class OneBlock:
    """The same for a gate with one set of candidates."""

    name, adapters, reads_blocks = "one block", ("linear", "wide"), True

    def weigh(self, module: str, x: torch.Tensor) -> torch.Tensor:
        return torch.cos(x.mean(-1, keepdim=True) + torch.arange(2)) / 3


FEW = [("narrow", "wide"), ("linear",), ("wide", "mlp"), ("pattern", "mlp"), ("mlp",), ("narrow", "pattern")]
ALIKE = [("narrow", "wide", "linear")] * 3 + [("linear", "narrow")] * 2 + [("wide",)]


@pytest.mark.parametrize("rows", [FEW, ALIKE], ids=["own", "stack"])
def test_equal_weights_are_each_rows_own_uniform_mixture(tiny_engine: Engine, rows: list[tuple[str, ...]]) -> None:
    gate = Share()

    logits = tiny_engine.next_logits(PROMPTS, [OwnGate(gate, keys) for keys in rows])

    mixtures = [tuple((key, 1 / len(keys)) for key in keys) for keys in rows]
    torch.testing.assert_close(logits, tiny_engine.next_logits(PROMPTS, mixtures), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("gate", [Waves(), OfBlock()], ids=["module", "block"])
@pytest.mark.parametrize("rows", [FEW, ALIKE], ids=["own", "stack"])
def test_rows_of_a_mixed_batch_answer_as_they_do_alone(
    tiny_engine: Engine, gate: Waves | OfBlock, rows: list[tuple[str, ...]]
) -> None:
    weighings: list[Weighing] = [OwnGate(gate, keys) for keys in rows]
    weighings[1], weighings[3] = (("dora", 1.0),), OneBlock()
    limits = [9, 3, 6, 2, 1, 8]  # rows end at different steps

    together = tiny_engine.generate(PROMPTS, weighings, limits, "")

    asked = zip(PROMPTS, weighings, limits, strict=True)
    assert together == [tiny_engine.generate([p], [w], limit, "")[0] for p, w, limit in asked]
    logits = tiny_engine.next_logits(PROMPTS, weighings)
    alone = [tiny_engine.next_logits([p], [w])[0] for p, w in zip(PROMPTS, weighings, strict=True)]
    torch.testing.assert_close(logits, torch.stack(alone), atol=1e-4, rtol=1e-4)
    assert not torch.allclose(logits, tiny_engine.next_logits(PROMPTS, [()] * 6), atol=1e-3)


def test_few_candidates_in_all_are_computed_for_every_row() -> None:
    gate = Share()

    assert [stack_pays([OwnGate(gate, keys) for keys in rows]) for rows in (FEW, ALIKE)] == [False, True]


def test_options_of_rows_with_own_candidates_are_scored_as_alone(tiny_engine: Engine) -> None:
    options = [["cat", "red and blue"], ["north"], ["a b c", "dog"]]
    gate = Waves()
    routes = [GatedRoute(OwnGate(gate, keys)) for keys in FEW[:3]]

    together = tiny_engine.score_options(PROMPTS[:3], options, routes)

    for row, prompt, given, route in zip(together, PROMPTS[:3], options, routes, strict=True):
        assert row.totals == pytest.approx(tiny_engine.score_options([prompt], [given], [route])[0].totals, abs=2e-4)


def test_a_gate_that_reads_blocks_is_asked_once_a_block_and_pass(tiny_engine: Engine) -> None:
    gate = OfBlock()

    tiny_engine.generate(PROMPTS[:2], [OwnGate(gate, ("linear", "mlp")), OwnGate(gate, ("wide",))], 2, "")

    assert gate.asked == ["model.layers.0", "model.layers.1"] * 2


def test_a_module_outside_of_all_blocks_is_refused_by_a_gate_of_blocks() -> None:
    assert block_of("transformer.h.11.attn.c_attn") == "transformer.h.11"
    with pytest.raises(UnsupportedAdapter, match="targets lm_head, which stands in no decoder block"):
        block_of("lm_head")


def test_a_dora_is_no_candidate_of_any_row(tiny_engine: Engine) -> None:
    gate = Share()

    with pytest.raises(UnsupportedAdapter, match="dora: The adapter is a DoRA"):
        tiny_engine.answer(PROMPTS[:2], [GatedRoute(OwnGate(gate, keys)) for keys in (("narrow",), ("dora",))])


def test_a_row_gates_route_has_no_mixture() -> None:
    with pytest.raises(SettingError, match="'share' has no mixture"):
        _ = GatedRoute(OwnGate(Share(), ("narrow",))).mixture
    assert Route(()).mixture == ()
