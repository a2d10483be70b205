"""Gates against plain dense arithmetic: ΔW as PEFT merges it, torch's SVD of the whole matrix, one token at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from catalog.errors import SettingError, UnsupportedAdapter
from lorauter.adapters.weights import AdapterWeights, LoraPair
from lorauter.engine.engine import Engine
from lorauter.gates.arrow import ArrowGate
from lorauter.gates.lag import LagGate
from lorauter.gates.named import TRAINED
from lorauter.gates.protocol import TokenGate
from lorauter.gates.seqr import SeqrGate
from lorauter.gates.singular_rows import singular_rows_of
from lorauter.gates.spectr import SpectrGate
from lorauter.routers import RouterParts
from lorauter.routers.by_weights import BY_WEIGHTS
from lorauter.routing.routes import Route, RouterOptions
from lorauter.train.gate_calibration import calibrate

pytestmark = pytest.mark.usefixtures("one_thread")

Delta = Callable[[str, str], torch.Tensor]
KEYS = ("narrow", "wide", "linear", "pattern", "mlp")
Q, DOWN = "model.layers.1.self_attn.q_proj", "model.layers.0.mlp.down_proj"
PROMPTS = ["Which colour is the cat?", "north", "red blue dog cat red blue", "Is it?"]


@pytest.fixture(scope="module")
def gates(tiny_engine: Engine) -> Mapping[str, TokenGate]:
    singular = singular_rows_of(tiny_engine.weights_of)
    return {
        "arrow": ArrowGate(KEYS, singular, top_k=2, temperature=0.5),
        "spectr": SpectrGate(KEYS, singular, top_k=2, temperature=0.5),
        "lag": LagGate(KEYS, singular, top_k=2),
    }


def tokens(d_in: int) -> torch.Tensor:
    return torch.randn(2, 5, d_in, generator=torch.Generator().manual_seed(3))


Dense = Callable[[str], dict[str, tuple[torch.Tensor, torch.Tensor]]]


@pytest.fixture(scope="module")
def dense(delta: Delta) -> Dense:
    """Module → ΔW of each candidate that touches it, with its top right singular vector."""

    @cache
    def found(module: str) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
        deltas = {key: delta(key, module) for key in KEYS}
        return {key: (one, torch.linalg.svd(one).Vh[0]) for key, one in deltas.items() if one.any()}

    return found


def dense_weights(
    system: str, candidates: Mapping[str, tuple[torch.Tensor, torch.Tensor]], x: torch.Tensor
) -> dict[str, float]:
    """One token's weights, by the definition."""
    along = {key: float((x @ top).abs()) for key, (_, top) in candidates.items()}
    changed = {key: float((delta @ x).norm()) for key, (delta, _) in candidates.items()}
    scores = changed if system == "spectr" else along
    kept = sorted(scores, key=lambda key: -scores[key])[:2]
    if system == "lag":
        return {max(kept, key=lambda key: changed[key]): 1.0}
    shares = torch.softmax(torch.tensor([scores[key] / 0.5 for key in kept]), 0).tolist()
    return dict(zip(kept, shares, strict=True))


@pytest.mark.parametrize("module", [Q, DOWN])
@pytest.mark.parametrize("key", KEYS)
def test_singular_rows_are_those_of_the_dense_matrix(tiny_engine: Engine, delta: Delta, key: str, module: str) -> None:
    rows = singular_rows_of(tiny_engine.weights_of)(key).get(module)

    dense = delta(key, module)
    assert (rows is None) == (not dense.any())
    if rows is not None:
        values = torch.linalg.svdvals(dense)[: len(rows)]
        torch.testing.assert_close(rows.norm(dim=1), values, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(rows.T @ rows, dense.T @ dense, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("module", [Q, DOWN])
@pytest.mark.parametrize("system", ["arrow", "spectr", "lag"])
def test_a_gate_weighs_as_its_definition_on_dense_matrices(
    gates: Mapping[str, TokenGate], dense: Dense, system: str, module: str
) -> None:
    x = tokens(dense(module)["linear"][0].shape[1])

    weights = gates[system].weigh(module, x)

    for row in range(2):
        for token in range(5):
            expected = dense_weights(system, dense(module), x[row, token])
            assert dict(zip(KEYS, weights[row, token].tolist(), strict=True)) == pytest.approx(
                {key: expected.get(key, 0.0) for key in KEYS}, abs=1e-4
            )


@pytest.mark.parametrize("system", ["arrow", "spectr", "lag"])
def test_a_gated_batch_has_the_logits_of_dense_products_at_every_module(
    gates: Mapping[str, TokenGate], tiny_engine: Engine, tiny_hub_folder: Path, dense: Dense, system: str
) -> None:
    logits = tiny_engine.next_logits(PROMPTS, [gates[system]] * len(PROMPTS))

    expected = [dense_logits(tiny_hub_folder, dense, prompt, system) for prompt in PROMPTS]
    torch.testing.assert_close(logits, torch.stack(expected), atol=2e-4, rtol=1e-3)


def dense_logits(hub: Path, dense: Dense, prompt: str, system: str) -> torch.Tensor:
    """transformers' own forward pass of one prompt, with each token's weighted sum of ΔWs added at every module."""
    model = AutoModelForCausalLM.from_pretrained(hub / "tiny/llama").eval()
    tokenizer = AutoTokenizer.from_pretrained(hub / "tiny/llama")

    def hook(name: str) -> Callable[..., torch.Tensor]:
        def add(_: torch.nn.Module, inputs: tuple[torch.Tensor], output: torch.Tensor) -> torch.Tensor:
            parts = []
            for token in inputs[0][0]:
                weights = dense_weights(system, dense(name), token)
                parts.append(sum(w * dense(name)[key][0] @ token for key, w in weights.items()))
            return output + torch.stack(parts)

        return add

    for name, module in model.named_modules():
        if name.endswith("_proj"):
            module.register_forward_hook(hook(name))
    with torch.inference_mode():
        found: torch.Tensor = model(**tokenizer(prompt, return_tensors="pt")).logits[0, -1]
    return found


def test_an_adapter_that_does_nothing_gets_no_score_from_arrow() -> None:
    idle, busy = pair(0), pair(1)
    idle = LoraPair(idle.a, torch.zeros_like(idle.b), 1.0)
    made = {"idle": AdapterWeights({Q: idle}), "busy": AdapterWeights({Q: busy})}

    gate = ArrowGate(["idle", "busy"], singular_rows_of(made.__getitem__), top_k=1)

    assert torch.equal(gate.weigh(Q, tokens(64)), torch.tensor([0.0, 1.0]).expand(2, 5, 2))


def test_a_dora_is_no_candidate(tiny_engine: Engine) -> None:
    with pytest.raises(UnsupportedAdapter, match="dora: The adapter is a DoRA, whose ΔW is not of low rank"):
        ArrowGate(["narrow", "dora"], singular_rows_of(tiny_engine.weights_of))


# -- one frozen A ---------------------------------------------------------------------------------

FROZEN = ("small", "large", "other")


def pair(seed: int, scaling: float = 1.0, rank: int = 3, shared: bool = True) -> LoraPair:
    made = torch.Generator().manual_seed(seed)
    b = torch.randn(64, rank, generator=made) * 0.05
    a = torch.randn(rank, 64, generator=torch.Generator().manual_seed(99) if shared else made)
    return LoraPair(a, b, scaling)


def frozen(seed: int, scaling: float) -> AdapterWeights:
    """At q_proj of both blocks."""
    return AdapterWeights({f"model.layers.{n}.self_attn.q_proj": pair(10 * seed + n, scaling) for n in (0, 1)})


@pytest.fixture(scope="module")
def one_a(tiny_hub_folder: Path) -> Engine:
    made = {key: frozen(seed, scaling) for seed, (key, scaling) in enumerate(zip(FROZEN, (0.2, 3.0, 0.3), strict=True))}
    return Engine(tiny_hub_folder / "tiny/llama", device="cpu", dtype="float32", find_adapter=made.__getitem__)


def norms(engine: Engine, module: str, x: torch.Tensor) -> torch.Tensor:
    """‖ΔW x‖ of every token and adapter, from dense ΔWs."""
    pairs = [engine.weights_of(key).modules[module] for key in FROZEN]
    return torch.stack([(x @ (p.scaling * p.b @ p.a).T).norm(dim=-1) for p in pairs], dim=-1)


def test_seqr_finds_the_adapter_of_the_greatest_change(one_a: Engine) -> None:
    gate, x = SeqrGate(FROZEN, one_a.weights_of), tokens(64)

    torch.testing.assert_close(gate.scores(Q, x), norms(one_a, Q, x), atol=1e-5, rtol=1e-4)
    assert torch.equal(gate.weigh(Q, x).argmax(-1), norms(one_a, Q, x).argmax(-1))
    assert torch.equal(gate.weigh(Q, x).sum(-1), torch.ones(2, 5))


def test_calibration_takes_the_spread_over_the_bare_bases_tokens(one_a: Engine, tiny_hub_folder: Path) -> None:
    gate = calibrate(SeqrGate(FROZEN, one_a.weights_of), one_a, PROMPTS)

    x = torch.cat([plain_inputs(tiny_hub_folder, prompt, Q) for prompt in PROMPTS])
    found = norms(one_a, Q, x)
    torch.testing.assert_close(gate.spread[Q].mean, found.mean(0), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(gate.spread[Q].deviation, found.std(0, unbiased=False), atol=1e-5, rtol=1e-3)


def test_a_calibrated_gate_is_not_won_by_size(one_a: Engine) -> None:
    plainly = SeqrGate(FROZEN, one_a.weights_of)
    x = one_a.probe(PROMPTS, Q)[None]

    calibrated = calibrate(SeqrGate(FROZEN, one_a.weights_of), one_a, PROMPTS)

    spread = calibrated.spread[Q]
    expected = ((norms(one_a, Q, x) - spread.mean) / spread.deviation).argmax(-1)
    assert torch.equal(calibrated.weigh(Q, x).argmax(-1), expected)
    assert plainly.weigh(Q, x).argmax(-1).unique().tolist() == [FROZEN.index("large")]
    assert len(expected.unique()) > 1


def plain_inputs(hub: Path, prompt: str, module: str) -> torch.Tensor:
    """What the base hands to a module, nothing padded: (tokens, d_in)."""
    model = AutoModelForCausalLM.from_pretrained(hub / "tiny/llama").eval()
    seen: list[torch.Tensor] = []
    model.get_submodule(module).register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    with torch.inference_mode():
        model(**AutoTokenizer.from_pretrained(hub / "tiny/llama")(prompt, return_tensors="pt"))
    return seen[0][0]


def test_calibration_needs_texts(one_a: Engine) -> None:
    with pytest.raises(SettingError, match="no texts to calibrate with"):
        calibrate(SeqrGate(FROZEN, one_a.weights_of), one_a, [])


@pytest.mark.parametrize("stranger", [pair(5, shared=False), pair(5, rank=2)])
def test_seqr_refuses_an_adapter_with_an_a_of_its_own(stranger: LoraPair) -> None:
    made = {"first": frozen(0, 1.0), "stranger": AdapterWeights({Q: stranger})}

    with pytest.raises(UnsupportedAdapter, match=f"stranger: The adapter's A at {Q} is not that of first"):
        SeqrGate(["first", "stranger"], made.__getitem__)


# -- by name --------------------------------------------------------------------------------------


def test_every_router_by_weights_answers_with_what_it_routes(one_a: Engine) -> None:
    unused: Any = None
    parts = RouterParts(unused, unused, unused, RouterOptions(), {}, pool=FROZEN, engine=lambda: one_a)

    routers = {name: make(parts) for name, make in BY_WEIGHTS.items() if name not in TRAINED}

    assert [router.name for router in routers.values()] == [name for name in BY_WEIGHTS if name not in TRAINED]
    bare = one_a.score_options(PROMPTS, [["cat"]] * 4, [Route(())] * 4)
    for router in routers.values():
        assert one_a.score_options(PROMPTS, [["cat"]] * 4, router.route(PROMPTS)) != bare
