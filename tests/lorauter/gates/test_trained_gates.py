"""Trained gates in the engine against what must equal them: one adapter, a mixture, X-LoRA of PEFT, dense sums."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from lorauter.engine.engine import Engine
from lorauter.gates.lora_flow import LoraFlowGate, bias_name, start_of, weight_name
from lorauter.gates.meteora import MeteoraGate, weights_of
from lorauter.gates.protocol import GatedRoute
from lorauter.gates.ramole import RamoleGate, key_name, query_name
from lorauter.gates.row_gates import OwnGate, RowCandidates, RowGate
from lorauter.routing.routes import Mixture

pytestmark = pytest.mark.usefixtures("one_thread")

KEYS = ("linear", "mlp", "narrow", "pattern", "wide")
PROMPTS = ["Which colour is the cat?", "north", "red blue dog cat red blue", "Is it?"]
BLOCKS = ("model.layers.0", "model.layers.1")
HIDDEN = 64


class Fixed:
    """The same logits everywhere, weighed as MeteoRA's are."""

    name = "fixed"

    def __init__(self, logits: Sequence[float]) -> None:
        self._logits = torch.tensor(logits)

    def weigh_rows(self, module: str, x: torch.Tensor, own: RowCandidates) -> torch.Tensor:
        return weights_of(self._logits.expand(*x.shape[:2], -1), own.there[:, None])


def normal(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def sizes(engine: Engine) -> dict[str, tuple[int, int]]:
    """d_in and d_out of every module that a kind touches."""
    pairs = {name: pair for key in KEYS for name, pair in engine.weights_of(key).modules.items()}
    return {name: (pair.a.shape[1], pair.b.shape[0]) for name, pair in pairs.items()}


def meteora(engine: Engine, adapters: Sequence[str] = KEYS) -> MeteoraGate:
    gates = {name: normal(n, len(adapters), d_in) for n, (name, (d_in, _)) in enumerate(sizes(engine).items())}
    return MeteoraGate(gates, adapters)


def ramole(engine: Engine, size: float = 1.0, rank: int = 3) -> RamoleGate:
    factors = {}
    for n, (name, (d_in, d_out)) in enumerate(sizes(engine).items()):
        factors[query_name(name)] = normal(n, rank, d_in)
        factors[key_name(name)] = size * normal(99 + n, d_out, rank)
    return RamoleGate(factors, engine.weights_of)


def lora_flow(adapters: Sequence[str], w: float, b: torch.Tensor) -> LoraFlowGate:
    tensors = {weight_name("t", block): w * normal(n, len(adapters), HIDDEN) for n, block in enumerate(BLOCKS)}
    return LoraFlowGate(tensors | {bias_name("t", block): b for block in BLOCKS}, {"t": adapters})


def gated(engine: Engine, gate: RowGate, *rows: Sequence[str]) -> torch.Tensor:
    """Logits of the prompts, the rows' candidates taken in turn."""
    own = [OwnGate(gate, tuple(rows[n % len(rows)]), "t") for n in range(len(PROMPTS))]
    return engine.next_logits(PROMPTS, own)


def mixed(engine: Engine, mixture: Mixture) -> torch.Tensor:
    return engine.next_logits(PROMPTS, [mixture] * len(PROMPTS))


def alike(one: torch.Tensor, other: torch.Tensor) -> None:
    torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)


# -- what equals one adapter ----------------------------------------------------------------------


@pytest.mark.parametrize("chosen", [0, 3])
def test_one_hot_logits_are_that_adapter_alone(tiny_engine: Engine, chosen: int) -> None:
    logits = [0.0] * 5
    logits[chosen] = 1e4

    alike(gated(tiny_engine, Fixed(logits), KEYS), mixed(tiny_engine, ((KEYS[chosen], 1.0),)))


@pytest.mark.parametrize("system", ["meteora", "ramole", "lora_flow"])
def test_one_candidate_is_that_adapter_alone(tiny_engine: Engine, system: str) -> None:
    gate: dict[str, RowGate] = {
        "meteora": meteora(tiny_engine),
        "ramole": ramole(tiny_engine),
        "lora_flow": lora_flow(("narrow", "wide"), 1.0, start_of(2)),
    }

    alike(gated(tiny_engine, gate[system], ("wide",)), mixed(tiny_engine, (("wide", 1.0),)))


@pytest.mark.parametrize("system", ["meteora", "ramole", "lora_flow"])
def test_identical_candidates_are_that_adapter(tiny_engine: Engine, tiny_hub_folder: Path, system: str) -> None:
    twins = Engine(
        tiny_hub_folder / "tiny/llama",
        device="cpu",
        dtype="float32",
        find_adapter=lambda key: tiny_engine.weights_of("linear"),
    )
    names = ("one", "other")
    gates: dict[str, Callable[[], RowGate]] = {
        "meteora": lambda: meteora(tiny_engine, names),
        "ramole": lambda: RamoleGate(ramole(tiny_engine)._tensors, twins.weights_of),
        "lora_flow": lambda: lora_flow(names, 1.0, torch.zeros(2)),
    }

    alike(gated(twins, gates[system](), names), mixed(twins, (("one", 1.0),)))


def test_lora_flow_starts_as_its_last_adapter_bit_for_bit(tiny_engine: Engine) -> None:
    two, three = ("narrow", "wide"), ("mlp", "narrow", "wide")

    started = [gated(tiny_engine, lora_flow(keys, 0.0, start_of(len(keys))), keys) for keys in (two, three)]

    alone = mixed(tiny_engine, (("wide", 1.0),))
    assert [torch.equal(one, alone) for one in started] == [True, True]


# -- what equals a mixture ------------------------------------------------------------------------


def test_logarithms_of_weights_are_the_mixture(tiny_engine: Engine) -> None:
    gate = Fixed(torch.tensor([0.3, 0.7]).log().tolist())

    alike(gated(tiny_engine, gate, ("linear", "wide")), mixed(tiny_engine, (("linear", 0.3), ("wide", 0.7))))


def test_lora_flow_with_w_0_is_the_mixture_of_its_biases(tiny_engine: Engine) -> None:
    gate = lora_flow(("linear", "mlp", "wide"), 0.0, torch.tensor([-0.9, 0.4, 1.1]))

    expected = (("linear", -0.9 + 1 / 3), ("mlp", 0.4 + 1 / 3), ("wide", 1.1 + 1 / 3))
    alike(gated(tiny_engine, gate, ("linear", "mlp", "wide")), mixed(tiny_engine, expected))


def test_ramole_with_keys_of_0_is_each_rows_uniform_mixture(tiny_engine: Engine) -> None:
    rows = [("linear", "wide"), ("mlp",), ("narrow", "pattern"), ("mlp", "wide")]

    logits = gated(tiny_engine, ramole(tiny_engine, size=0.0), *rows)

    mixtures = [tuple((key, 1 / len(keys)) for key in keys) for keys in rows]
    alike(logits, tiny_engine.next_logits(PROMPTS, mixtures))


# -- definitions ----------------------------------------------------------------------------------

Q = "model.layers.1.self_attn.q_proj"


@pytest.mark.parametrize("rows", [[("linear", "mlp", "wide")], [("linear", "wide"), ("mlp",), ("narrow", "pattern")]])
def test_ramole_weighs_as_its_definition_on_dense_matrices(
    tiny_engine: Engine, delta: Callable[[str, str], torch.Tensor], rows: list[tuple[str, ...]]
) -> None:
    gate = ramole(tiny_engine)
    seen: list[tuple[torch.Tensor, torch.Tensor]] = []

    class Watched:
        name = "watched"

        def weigh_rows(self, module: str, x: torch.Tensor, own: RowCandidates) -> torch.Tensor:
            weights = gate.weigh_rows(module, x, own)
            if module == Q:
                seen.append((x.clone(), weights.clone()))
            return weights

    gated(tiny_engine, Watched(), *rows)

    a, b = gate._tensors[query_name(Q)], gate._tensors[key_name(Q)]
    [(x, weights)] = seen
    for row in range(len(PROMPTS)):
        keys = rows[row % len(rows)]
        scores = [(x[row] @ a.T * (x[row] @ delta(key, Q).T @ b)).sum(-1) / len(a) ** 0.5 for key in keys]
        expected = torch.softmax(torch.stack(scores, dim=-1), dim=-1)
        torch.testing.assert_close(weights[row, :, : len(keys)], expected, atol=1e-4, rtol=1e-3)
        assert not weights[row, :, len(keys) :].any()


def test_meteora_uses_the_two_highest_logits_of_a_rows_own_candidates(tiny_engine: Engine) -> None:
    gate, x = meteora(tiny_engine), normal(5, 2, 3, HIDDEN)
    own = [OwnGate(gate, KEYS), OwnGate(gate, ("mlp", "narrow", "wide"))]

    weights = gate.weigh_rows(Q, x, RowCandidates(own, torch.tensor([0, 1])))

    logits = x @ gate._tensors[Q].T
    for row, keys in enumerate((KEYS, ("mlp", "narrow", "wide"))):
        asked = logits[row][:, [KEYS.index(key) for key in keys]]
        least = asked.topk(2, dim=-1).values[:, -1:]
        expected = torch.softmax(asked.masked_fill(asked < least, -torch.inf), dim=-1)
        torch.testing.assert_close(weights[row, :, : len(keys)], expected)
    assert torch.equal((weights > 0).sum(-1), torch.full((2, 3), 2))


@pytest.mark.parametrize("left", [("linear", "wide"), ("wide",)])
def test_lora_flow_without_a_candidate_keeps_the_sum_of_its_weights(left: tuple[str, ...]) -> None:
    gate = lora_flow(("linear", "mlp", "wide"), 1.0, torch.tensor([-0.2, 0.5, 0.1]))
    whole, part = (OwnGate(gate, keys, "t") for keys in (("linear", "mlp", "wide"), left))

    weights = gate.weigh_rows(BLOCKS[0], normal(1, 2, 3, HIDDEN), RowCandidates([whole, part], torch.tensor([0, 1])))

    torch.testing.assert_close(weights.sum(-1), torch.full((2, 3), 1.4))
    assert not weights[1, :, len(left) :].any()


# -- PEFT -----------------------------------------------------------------------------------------


def test_scalings_of_pefts_x_lora_replayed_through_a_gate_give_its_logits(
    tiny_engine: Engine, tiny_hub_folder: Path, tiny_pool: Callable[[str], Path]
) -> None:
    keys, prompt = ("linear", "narrow", "wide"), PROMPTS[2]
    model, expected = x_lora(tiny_hub_folder / "tiny/llama", tiny_pool, keys, prompt)
    scalings = model.get_scalings_log()[-1]
    layers = [name for name, module in model.lora_model.model.named_modules() if hasattr(module, "lora_A")]

    class Replayed:
        name, adapters = "replayed", keys

        def weigh(self, module: str, x: torch.Tensor) -> torch.Tensor:
            return scalings[:, :, layers.index(module)]

    logits = tiny_engine.next_logits([prompt], [Replayed()])

    torch.testing.assert_close(logits[0], expected, atol=1e-4, rtol=0)
    assert scalings.std(dim=1).max() > 0.01  # tokens differ
    assert not torch.allclose(logits, tiny_engine.next_logits([prompt], [()]), atol=1e-3)


def x_lora(base: Path, pool: Callable[[str], Path], keys: Sequence[str], prompt: str) -> tuple[Any, torch.Tensor]:
    """PEFT's own X-LoRA over some kinds, at random weights, and its logits after the prompt."""
    from peft import XLoraConfig, get_peft_model

    plain = AutoModelForCausalLM.from_pretrained(base).eval()
    plain.config.use_cache = False
    config = XLoraConfig(
        task_type="CAUSAL_LM",
        hidden_size=HIDDEN,
        xlora_depth=1,
        layerwise_scalings=True,
        adapters={str(n): str(pool(key)) for n, key in enumerate(keys)},
    )
    torch.manual_seed(0)
    model = get_peft_model(plain, config).eval()
    for parameter in model.base_model.internal_xlora_classifier.parameters():
        torch.nn.init.normal_(parameter)
    model.base_model.enable_scalings_logging()
    tokens = AutoTokenizer.from_pretrained(base)(prompt, return_tensors="pt")
    with torch.inference_mode():
        found: torch.Tensor = model(**tokens).logits[0, -1]
    return model.base_model, found


def test_options_and_texts_of_trained_gates_are_those_of_rows_alone(tiny_engine: Engine) -> None:
    rows = [(meteora(tiny_engine), KEYS), (ramole(tiny_engine), ("mlp", "wide")), (ramole(tiny_engine), ("linear",))]
    routes = [GatedRoute(OwnGate(gate, keys)) for gate, keys in rows]
    routes.append(GatedRoute(OwnGate(lora_flow(("linear", "wide"), 1.0, start_of(2)), ("linear", "wide"), "t")))

    together = tiny_engine.answer(PROMPTS, routes, 6, "")

    alone = [tiny_engine.answer([p], [route], 6, "")[0] for p, route in zip(PROMPTS, routes, strict=True)]
    assert together == alone
