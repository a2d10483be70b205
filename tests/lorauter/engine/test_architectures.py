"""The engine against PEFT on every kind of decoder: tiny random models, fp32, adapters that PEFT itself saved.

Windows of attention are shorter than most prompts, biases and norms are random, adapters differ in rank, scaling,
targets and kind, and all of them are in one batch.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import (
    AutoModelForCausalLM,
    Gemma2Config,
    Gemma3TextConfig,
    GPT2Config,
    LlamaConfig,
    MambaConfig,
    MistralConfig,
    OPTConfig,
    Phi3Config,
    PreTrainedConfig,
    Qwen2Config,
    Qwen2MoeConfig,
    Qwen3Config,
)

from benchmarks.tiny_model import byte_tokenizer
from catalog.errors import SettingError
from lorauter.adapters.weights import read_adapter
from lorauter.compositions.cat import cat
from lorauter.compositions.saving import save_merged
from lorauter.engine.engine import Engine
from lorauter.routing.routes import Mixture, Route

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.filterwarnings("ignore:fan_in_fan_out is set to", "ignore:Model has `tie_word_embeddings=True`"),
]

WINDOW = 8  # tokens; a byte of a prompt is a token
SIZES = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 4, "num_attention_heads": 4}
GROUPED = SIZES | {"num_key_value_heads": 2, "max_position_embeddings": 96}
ALTERNATING = {"head_dim": 8, "sliding_window": WINDOW, "layer_types": ["sliding_attention", "full_attention"] * 2}
EXPERTS = {
    "num_experts": 4,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 16,
    "shared_expert_intermediate_size": 24,
}
GPT2 = {"n_embd": 32, "n_layer": 3, "n_head": 4, "n_positions": 96}
CONFIGS: dict[str, tuple[type[PreTrainedConfig], dict[str, Any]]] = {
    "llama": (LlamaConfig, GROUPED),
    "qwen2": (Qwen2Config, GROUPED),
    "qwen3": (Qwen3Config, GROUPED | {"head_dim": 16}),
    "mistral": (MistralConfig, GROUPED | {"sliding_window": WINDOW}),
    "gemma2": (Gemma2Config, GROUPED | ALTERNATING | {"attn_logit_softcapping": 2.0, "final_logit_softcapping": 9.0}),
    "gemma3": (Gemma3TextConfig, GROUPED | ALTERNATING),
    "phi3": (Phi3Config, GROUPED | {"sliding_window": WINDOW, "pad_token_id": None}),
    "gpt2": (GPT2Config, GPT2),
    "opt": (OPTConfig, GROUPED | {"ffn_dim": 48, "word_embed_proj_dim": 32}),  # its MLP sees all rows' tokens in a line
    "qwen2_moe": (Qwen2MoeConfig, GROUPED | EXPERTS),  # and so does the expert that all tokens share
}


@dataclass(frozen=True)
class Names:
    """How an architecture calls what adapters target: two modules of attention, one of the MLP, and a pattern."""

    query: str
    output: str
    up: str
    one_layer: str


PLAIN = Names("q_proj", "o_proj", "up_proj", "layers.1.self_attn.q_proj")
NAMES = {
    "phi3": Names("qkv_proj", "o_proj", "gate_up_proj", "layers.1.self_attn.qkv_proj"),
    "opt": Names("q_proj", "out_proj", "fc1", "layers.1.self_attn.q_proj"),
    "gpt2": Names("c_attn", "attn.c_proj", "c_fc", "h.1.attn.c_attn"),
}


def adapters_of(names: Names) -> dict[str, dict[str, Any]]:
    """What PEFT is asked for, by the adapter's key."""
    attention = [names.query, names.output]
    return {
        "attention": {"r": 4, "target_modules": attention},
        "all": {"r": 2, "target_modules": "all-linear"},
        "rslora": {"r": 9, "lora_alpha": 5, "use_rslora": True, "target_modules": [names.up]},
        "pattern": {
            "r": 3,
            "target_modules": [*attention, names.up],
            "rank_pattern": {names.up: 5},
            "alpha_pattern": {names.one_layer: 20},
        },
        "dora": {"r": 4, "use_dora": True, "target_modules": [names.query, names.up]},
        "head": {"r": 2, "target_modules": [names.output, "lm_head"]},
    }


PROMPTS = ["Is water wet?", "a", "The quick brown fox jumps over it", "2 + 2 =", "Once upon a time", "To be or not"]
LIMITS = [20, 3, 12, 20, 5, 1]
OPTIONS = [("yes", "no and never", "it"), ("b",), ("dogs", "the lazy dog"), ("4", "5"), ("there was", "x"), ("be",)]
THREE: Mixture = (("attention", 0.5), ("pattern", 0.3), ("all", -0.7))


@dataclass(frozen=True)
class World:
    """One architecture: the engine on it, PEFT on it, and the mixtures of the batch."""

    engine: Engine
    peft: PeftModel
    tokenizer: Any

    @property
    def rows(self) -> list[Mixture]:
        return [((key, 1.0),) for key in adapters_of(PLAIN)]

    def logits(self, adapter: str, prompt: str, more: tuple[int, ...] = ()) -> torch.Tensor:
        """PEFT's logits at every place of a prompt and some tokens after it, alone and without padding or cache."""
        self.peft.set_adapter(adapter)
        with torch.inference_mode():
            found: torch.Tensor = self.peft(torch.tensor([[*self.tokenizer(prompt)["input_ids"], *more]])).logits[0]
        return found


@pytest.fixture(scope="module", params=CONFIGS)
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> World:
    folder = tmp_path_factory.mktemp(request.param)
    write_base(folder / "base", request.param)
    asked = adapters_of(NAMES.get(request.param, PLAIN))
    for seed, (key, options) in enumerate(asked.items()):
        save_adapter(folder / "base", folder / key, seed, options)
    peft = PeftModel.from_pretrained(load(folder / "base"), folder / "attention", adapter_name="attention")
    for key in list(asked)[1:]:
        peft.load_adapter(folder / key, adapter_name=key)
    engine = Engine(folder / "base", device="cpu", dtype="float32", find_adapter=lambda key: folder / key)
    return World(engine, peft.eval(), engine.tokenizer)


def write_base(folder: Path, architecture: str) -> None:
    tokenizer = byte_tokenizer()
    kind, sizes = CONFIGS[architecture]
    ends = {"eos_token_id": 0, "bos_token_id": 0, "pad_token_id": 0}
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(
        kind(**ends | {"vocab_size": len(tokenizer), "initializer_range": 0.2} | sizes)
    )
    for tensor in model.parameters():
        if tensor.ndim == 1:  # biases and norms, which start at 0 or 1 and would hide a wrong one
            tensor.data += 0.3 * torch.randn_like(tensor)
    if model.config.tie_word_embeddings:  # or it says its last token again and again, whatever the adapters do
        model.get_input_embeddings().weight.data *= 0.2
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def save_adapter(base: Path, folder: Path, seed: int, options: dict[str, Any]) -> None:
    """Through PEFT, with every factor random."""
    torch.manual_seed(seed)
    model = get_peft_model(load(base), LoraConfig(task_type="CAUSAL_LM", init_lora_weights=False, **options))
    for name, tensor in model.named_parameters():
        if "lora_magnitude_vector" in name:
            tensor.data *= 1 + 0.3 * torch.randn_like(tensor)
    model.save_pretrained(folder, save_embedding_layers=False)


def load(base: Path) -> Any:
    return AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32).eval()


def test_every_kind_of_adapter_in_one_batch_has_pefts_logits(world: World) -> None:
    logits = world.engine.next_logits(PROMPTS, world.rows)

    expected = [world.logits(row[0][0], prompt)[-1] for prompt, row in zip(PROMPTS, world.rows, strict=True)]
    torch.testing.assert_close(logits, torch.stack(expected), atol=2e-5, rtol=2e-5)


def test_a_mixed_batch_writes_what_peft_writes_one_by_one(world: World) -> None:
    texts = world.engine.generate(PROMPTS, world.rows, LIMITS, stop="")

    rows = zip(PROMPTS, world.rows, LIMITS, strict=True)
    assert texts == [greedy(world, row[0][0], prompt, limit) for prompt, row, limit in rows]


def greedy(world: World, adapter: str, prompt: str, limit: int) -> str:
    """PEFT's text of one row, every token from the whole row anew: no cache, no padding."""
    tokens: list[int] = []
    while len(tokens) < limit:
        token = int(world.logits(adapter, prompt, tuple(tokens))[-1].argmax())
        if token == world.tokenizer.eos_token_id:
            break
        tokens.append(token)
    return str(world.tokenizer.decode(tokens, skip_special_tokens=True)).lstrip()


def test_a_mixed_batch_writes_what_the_engine_writes_one_by_one(world: World) -> None:
    prompts, rows, limits = PROMPTS * 2, world.rows + [THREE] * 6, LIMITS * 2

    texts = world.engine.generate(prompts, rows, limits, stop="")

    alone = zip(prompts, rows, limits, strict=True)
    assert texts == [world.engine.generate([p], [row], [n], stop="")[0] for p, row, n in alone]


def test_three_adapters_weighted_are_pefts_cat(world: World) -> None:
    if "mixed" not in world.peft.peft_config:
        keys, weights = zip(*THREE, strict=True)
        world.peft.add_weighted_adapter(list(keys), list(weights), "mixed", combination_type="cat")

    logits = world.engine.next_logits(PROMPTS, [THREE] * 6)

    expected = torch.stack([world.logits("mixed", prompt)[-1] for prompt in PROMPTS])
    torch.testing.assert_close(logits, expected, atol=2e-5, rtol=2e-5)


def test_a_merge_written_to_disk_is_what_peft_reads(world: World, tmp_path: Path) -> None:
    merge = cat().merge(THREE)
    find = world.engine.find_adapter
    assert find is not None
    weights = merge.weights(lambda key: read_adapter(Path(str(find(key)))))
    save_merged(tmp_path, weights, "tiny/base")
    with world.engine.knowing({merge.key: lambda: weights}):
        logits = world.engine.next_logits(PROMPTS, [((merge.key, 1.0),)] * 6)

    world.peft.load_adapter(tmp_path, adapter_name=merge.key.replace(":", "-"))
    expected = torch.stack([world.logits(merge.key.replace(":", "-"), prompt)[-1] for prompt in PROMPTS])
    torch.testing.assert_close(logits, expected, atol=2e-5, rtol=2e-5)


def test_options_that_share_a_prompt_weigh_what_each_weighs_alone(world: World) -> None:
    found = world.engine.score_options(PROMPTS, OPTIONS, [Route(row) for row in world.rows])

    ours = [value for row in found for value in row.totals]
    rows = zip(PROMPTS, world.rows, OPTIONS, strict=True)
    theirs = [alone(world, row[0][0], prompt, option) for prompt, row, given in rows for option in given]
    assert ours == pytest.approx(theirs, abs=5e-4)


def alone(world: World, adapter: str, prompt: str, option: str) -> float:
    """log p(option | prompt): one row of both, through PEFT."""
    tokens = world.tokenizer(f" {option}", add_special_tokens=False)["input_ids"]
    said = world.logits(adapter, prompt, tuple(tokens)).log_softmax(-1)[-len(tokens) - 1 : -1]
    return float(said.gather(1, torch.tensor(tokens)[:, None]).sum())


def test_a_base_with_a_recurrent_state_is_refused(tmp_path: Path) -> None:
    config = MambaConfig(vocab_size=257, hidden_size=16, state_size=4, num_hidden_layers=1)
    AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path)
    byte_tokenizer().save_pretrained(tmp_path)

    with pytest.raises(SettingError, match="The base is a MambaForCausalLM, which keeps a state"):
        Engine(tmp_path, device="cpu", dtype="float32")


@pytest.mark.parametrize(("architecture", "attention"), [("llama", "lorauter_cpu"), ("gemma2", "eager")])
def test_the_attention_is_ours_to_choose(tmp_path: Path, architecture: str, attention: str) -> None:
    write_base(tmp_path, architecture)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"_attn_implementation": "flash_attention_2"}))

    engine = Engine(tmp_path, device="cpu", dtype="float32")

    assert engine.model.config._attn_implementation == attention
