"""Stories of what is refused by name before anything is computed, from config and header alone."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import save_file
from torch import nn
from transformers import AutoModelForCausalLM, Qwen3MoeConfig
from transformers.pytorch_utils import Conv1D

from catalog.errors import SettingError, UnsupportedAdapter
from lorauter.adapters.header import read_header
from lorauter.adapters.weights import PREFIX, AdapterWeights, LoraPair, read_adapter
from lorauter.engine.bank.bank import AdapterBank
from lorauter.engine.engine import Engine
from lorauter.routing.routes import Route

pytestmark = pytest.mark.usefixtures("one_thread")


class Router(nn.Linear):
    """Made of a Linear, and computes something else."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x).softmax(-1)


BASE = nn.ModuleDict(
    {
        "linear": nn.Linear(8, 6),
        "fused": Conv1D(6, 8),
        "words": nn.Embedding(8, 6),
        "conv": nn.Conv1d(8, 6, 3),
        "router": Router(8, 6),
        "norm": nn.LayerNorm(8),
        "experts": nn.ModuleList([nn.ModuleDict({"up": nn.Linear(8, 6)})]),
    }
)


def write(folder: Path, module: str, d_in: int = 8, d_out: int = 6, **config: Any) -> Path:
    """An adapter of one pair."""
    plain = {"peft_type": "LORA", "r": 2, "lora_alpha": 6, "target_modules": [module]}
    (folder / "adapter_config.json").write_text(json.dumps(plain | config))
    pair = {"lora_A": torch.ones(2, d_in), "lora_B": torch.ones(d_out, 2)}
    tensors = {f"{PREFIX}{module}.{side}.weight": tensor for side, tensor in pair.items()}
    save_file(tensors, folder / "adapter_model.safetensors")
    return folder


@pytest.mark.parametrize("module", ["linear", "fused"])
def test_an_adapter_that_fits_passes_and_nothing_is_held(tmp_path: Path, module: str) -> None:
    bank = AdapterBank(BASE, "cpu", torch.float32, 1)

    bank.check("org/one", lambda _: write(tmp_path, module))

    assert bank.keys == ()


@pytest.mark.parametrize(
    ("module", "d_in", "told"),
    [
        ("gone", 8, "targets gone, which the base lacks"),
        ("words", 8, "targets words, a Embedding and not a Linear or Conv1D"),
        ("conv", 8, "targets conv, a Conv1d and not a Linear or Conv1D"),
        ("router", 8, "targets router, a Router and not a Linear or Conv1D"),
        ("norm", 8, "targets norm, a LayerNorm and not a Linear or Conv1D"),
        ("experts.0.up", 8, "targets experts.0.up, a Linear of one expert, which cannot tell tokens' rows"),
        ("linear", 7, r"a shape mismatch at linear, a Linear: the base's weight is \(6, 8\), the adapter's \(6, 7\)"),
        ("fused", 7, r"a shape mismatch at fused, a Conv1D: the base's weight is \(6, 8\), the adapter's \(6, 7\)"),
    ],
)
def test_a_module_that_cannot_be_served_is_named(tmp_path: Path, module: str, d_in: int, told: str) -> None:
    bank = AdapterBank(BASE, "cpu", torch.float32, 1)

    with pytest.raises(UnsupportedAdapter, match=f"org/one@abc: The adapter .*{told}"):
        bank.check("org/one@abc", lambda _: write(tmp_path, module, d_in))


def test_weights_that_are_made_are_held_against_the_base_too(tmp_path: Path) -> None:
    bank = AdapterBank(BASE, "cpu", torch.float32, 1)
    made = AdapterWeights({"words": LoraPair(torch.ones(2, 8), torch.ones(6, 2), 1.0)})

    with pytest.raises(UnsupportedAdapter, match=r"org/one: .*words, a Embedding"):
        bank.check("org/one", lambda _: made)


def test_numbers_that_the_engines_dtype_cannot_hold_are_refused() -> None:
    large = AdapterWeights({"linear": LoraPair(torch.ones(2, 8), torch.full((6, 2), 1e4), 10.0)})
    AdapterBank(BASE, "cpu", torch.bfloat16, 1).add("org/one", large)

    with pytest.raises(UnsupportedAdapter, match="is not finite in float16 at linear"):
        AdapterBank(BASE, "cpu", torch.float16, 1).add("org/one", large)


@pytest.mark.parametrize(
    ("fields", "module", "kind"),
    [
        ({"target_modules": ["q_proj", "embed_tokens"]}, "model.embed_tokens", "Embedding"),
        ({"target_parameters": ["mlp.experts.down_proj"]}, "model.layers.0.mlp.experts", "Qwen3MoeExperts"),
        (
            {"target_parameters": ["mlp.experts.down_proj", "mlp.experts.gate_up_proj"]},
            "model.layers.0.mlp.experts",
            "Qwen3MoeExperts",
        ),
    ],
)
def test_what_peft_saves_for_other_modules_is_named(
    tmp_path: Path, fields: dict[str, Any], module: str, kind: str
) -> None:
    base = tiny_experts()
    bank = AdapterBank(base, "cpu", torch.float32, 1)
    get_peft_model(tiny_experts(), LoraConfig(**fields)).save_pretrained(tmp_path, save_embedding_layers=False)

    with pytest.raises(UnsupportedAdapter, match=f"org/one: The adapter targets {module}, a {kind} and not a Linear"):
        bank.check("org/one", lambda _: tmp_path)


def tiny_experts() -> Any:
    sizes = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2}
    experts = {"num_experts": 2, "num_experts_per_tok": 1, "moe_intermediate_size": 8}
    return AutoModelForCausalLM.from_config(
        Qwen3MoeConfig(vocab_size=20, num_key_value_heads=2, head_dim=8, **sizes, **experts)
    )


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ({"use_dora": True}, "use_dora is True, and 'linear' has no magnitude vector"),
        ({"peft_type": "IA3"}, "peft_type is 'IA3'"),
        ({"target_modules": ["fused"]}, "1 of 1 modules are not targeted, e.g. 'linear'"),
        ({"alpha_pattern": {"(": 1}}, r"undecidable_pattern\): alpha_pattern"),
    ],
)
def test_what_reading_refuses_the_header_refuses(tmp_path: Path, config: dict[str, Any], told: str) -> None:
    folder = write(tmp_path, "linear", **config)

    with pytest.raises(UnsupportedAdapter, match=told):
        read_header(folder).weights()
    with pytest.raises(UnsupportedAdapter, match=told):
        read_adapter(folder)


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda weights: weights.write_bytes(weights.read_bytes()[:-1]), "the tensors end at byte"),
        (lambda weights: weights.write_bytes(b"\xff" * 8), "the header declares 18446744073709551615 bytes"),
        (lambda weights: weights.unlink(), "No such file"),
        (lambda weights: (weights.parent / "adapter_config.json").write_bytes(b" " * (2 << 20)), "longer than 1048576"),
    ],
)
def test_a_damaged_folder_is_refused_within_bounds(tmp_path: Path, spoil: Callable[[Path], object], told: str) -> None:
    folder = write(tmp_path, "linear")
    spoil(folder / "adapter_model.safetensors")

    with pytest.raises(UnsupportedAdapter, match=f"no readable .*{told}"):
        read_header(folder)


# -- the engine -----------------------------------------------------------------------------------


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Adapters whose weights were read, and "forward" for every pass of the base."""
    noted: list[str] = []

    def noting(folder: Path, passing: Collection[str]) -> AdapterWeights:
        noted.append(folder.name)
        return read_adapter(folder, passing)

    monkeypatch.setattr("lorauter.engine.bank.finding.read_adapter", noting)
    return noted


@pytest.fixture
def engine(tiny_hub_folder: Path, tmp_path: Path, calls: list[str]) -> Engine:
    bad = write(tmp_path, "model.embed_tokens", target_modules=["embed_tokens"])
    engine = Engine(
        tiny_hub_folder / "tiny/llama",
        dtype="float32",
        find_adapter=lambda key: bad if key == "bad" else tiny_hub_folder / key,
    )
    engine.model.register_forward_pre_hook(lambda *_: calls.append("forward"))
    return engine


ROUTES = [Route((("ann/colours", 1.0),)), Route((("bob/animals", 0.5), ("bad", 0.5)))]


def test_answers_begin_only_when_every_adapter_can_be_served(engine: Engine, calls: list[str]) -> None:
    with pytest.raises(UnsupportedAdapter, match=r"bad: The adapter targets model\.embed_tokens, a Embedding"):
        engine.answer(["red", "a longer one"], ROUTES, 2)

    assert calls == []


def test_options_are_weighed_only_when_every_adapter_can_be_served(engine: Engine, calls: list[str]) -> None:
    with pytest.raises(UnsupportedAdapter, match=r"bad: The adapter targets model\.embed_tokens, a Embedding"):
        engine.score_options(["red", "a longer one"], [("cat", "dog")] * 2, ROUTES)

    assert calls == []


def test_an_adapter_is_checked_once(engine: Engine, tiny_hub_folder: Path) -> None:
    found: list[str] = []

    def find(key: str) -> Path:
        found.append(key)
        return tiny_hub_folder / key

    engine.find_adapter = find

    engine.check(["ann/colours", "bob/animals", "ann/colours"])
    engine.check(["bob/animals"])

    assert found == ["ann/colours", "bob/animals"]


def test_what_is_made_is_not_looked_for(engine: Engine, tiny_hub_folder: Path) -> None:
    made = read_adapter(tiny_hub_folder / "ann/colours")

    with engine.knowing({"mine": lambda: made}):
        texts = engine.answer(["red"], [Route((("mine", 1.0),))], 3)

    assert texts == engine.answer(["red"], [Route((("ann/colours", 1.0),))], 3)


def test_without_a_way_to_find_adapters_only_held_ones_pass(tiny_hub_folder: Path) -> None:
    engine = Engine(tiny_hub_folder / "tiny/llama", dtype="float32")
    engine.bank.add("mine", read_adapter(tiny_hub_folder / "ann/colours"))

    engine.check(["mine"])

    with pytest.raises(SettingError, match="'ann/colours' is not held"):
        engine.check(["ann/colours"])
