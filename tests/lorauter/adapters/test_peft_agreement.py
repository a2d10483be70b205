"""What the catalog says of PEFT's rules, held against the PEFT and the transformers that are installed."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from peft.tuners.tuners_utils import check_target_module_exists
from peft.utils.other import get_pattern_key
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import CONFIG_MAPPING, AutoModelForCausalLM, LlamaConfig, PreTrainedModel
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from catalog.adapters.config_fields import KNOWN, unknown_fields
from catalog.adapters.parse import header_length, parse_header
from catalog.adapters.patterns import Patience
from catalog.adapters.scaling import pattern_key
from catalog.adapters.tensor_names import unloaded_key
from catalog.bases.kind import is_causal_class
from catalog.bases.target_modules import expected_header_bytes, is_head, resolve_targets
from lorauter.adapters.base_modules import base_from_config

Q = "model.layers.0.self_attn.q_proj"
FIELDS: dict[str, Any] = {
    "vocab_size": 50,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}
BASE = base_from_config("tiny/llama", "0" * 40, FIELDS | {"model_type": "llama", "architectures": ["LlamaForCausalLM"]})


def tiny_llama() -> PreTrainedModel:
    torch.manual_seed(0)
    model: PreTrainedModel = AutoModelForCausalLM.from_config(LlamaConfig(**FIELDS))
    return model


def test_every_field_of_peft_is_known() -> None:
    assert {field.name for field in dataclasses.fields(LoraConfig)} == KNOWN


def test_a_config_that_peft_writes_has_no_unknown_field(tmp_path: Path) -> None:
    LoraConfig(task_type="CAUSAL_LM", target_modules=["q_proj"]).save_pretrained(tmp_path)
    assert unknown_fields(json.loads((tmp_path / "adapter_config.json").read_text())) == []


def test_every_causal_class_of_transformers_is_known_as_one() -> None:
    # These two hear or read pictures first, and only then write.
    others = {"BertGenerationDecoder", "BertLMHeadModel", "GotOcr2ForConditionalGeneration"}
    others |= {"MossTranscribeDiarizeForConditionalGeneration"}
    assert {c for c in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.values() if not is_causal_class(c)} == others


@pytest.mark.parametrize("pattern", ["q_proj", "_proj", r".*q_proj", "^model.layers.0.*", "self_attn", "q.proj", "", Q])
def test_patterns_match_as_in_peft(pattern: str) -> None:
    found = get_pattern_key([pattern], Q)

    assert pattern_key({pattern: 1}, Q, Patience()) == (pattern if found == pattern else None)


@pytest.mark.parametrize(
    "fields",
    [
        {"target_modules": ["q_proj", "v_proj"]},
        {"target_modules": ["model.layers.1.mlp.up_proj", "layers.0.mlp.down_proj"]},
        {"target_modules": r".*\.(?:0|2)\.(?:self_attn|mlp)\..*_proj"},
        {"target_modules": r"(?:.*?(?:language|text).*?q_proj.*?)|(?:\bmodel\.layers\.[\d]{1,}\.self_attn\.k_proj)"},
        {"target_modules": ["q_proj", "up_proj"], "exclude_modules": ["mlp.up_proj"]},
        {"target_modules": ["q_proj", "up_proj"], "exclude_modules": r".*\.1\..*"},
        {"target_modules": ["q_proj"], "layers_to_transform": [0, 2]},
        {"target_modules": ["q_proj"], "layers_to_transform": 1, "layers_pattern": ["layers"]},
        {"target_modules": ["model.layers.1.self_attn.q_proj", "k_proj"], "layers_to_transform": [0]},
        {"target_modules": ["lm_head"]},
        {"target_modules": ["q_proj", "up_proj"], "modules_to_save": ["mlp"]},
        {"target_modules": ["none"]},
    ],
)
def test_targets_are_those_of_peft(fields: dict[str, Any]) -> None:
    names = ("target_modules", "exclude_modules", "layers_to_transform", "layers_pattern", "modules_to_save")
    config = SimpleNamespace(target_parameters=None, **{name: fields.get(name) for name in names})
    peft = {name for name in BASE.modules if check_target_module_exists(config, name)}
    assert resolve_targets(fields, BASE) == peft


def test_the_heads_that_all_linear_leaves_out_are_those_of_peft() -> None:
    wrapped = get_peft_model(tiny_llama(), LoraConfig(target_modules="all-linear"))
    peft = {name.removeprefix("base_model.model.") for name, m in wrapped.named_modules() if hasattr(m, "lora_A")}
    assert resolve_targets({"target_modules": "all-linear"}, BASE) == peft


SMALL = ("biogpt", "bloom", "gpt_neo", "gpt_neox_japanese", "llama", "modernbert-decoder", "rwkv", "xlm", "xlnet")


@pytest.mark.parametrize("kind", SMALL)
def test_the_output_head_of_a_causal_model_is_known_by_its_name(kind: str) -> None:
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(CONFIG_MAPPING[kind]())
    names = [name for name, module in model.named_modules() if isinstance(module, nn.Linear) and is_head(name)]
    assert names == [name for name, module in model.named_modules() if module is model.get_output_embeddings()]


@pytest.mark.parametrize(
    "fields",
    [
        {"target_modules": ["q_proj", "v_proj"]},
        {"target_modules": "all-linear", "r": 64},
        {"target_modules": ["q_proj", "lm_head"], "use_dora": True},
        {"target_modules": ["q_proj", "embed_tokens"]},
        {"target_modules": ["q_proj"], "modules_to_save": ["lm_head"]},
    ],
)
def test_the_header_of_what_peft_writes_is_a_little_shorter_than_expected(
    fields: dict[str, Any], tmp_path: Path
) -> None:
    get_peft_model(tiny_llama(), LoraConfig(**fields)).save_pretrained(tmp_path, save_embedding_layers=False)
    length = header_length((tmp_path / "adapter_model.safetensors").read_bytes()[:8], None)
    assert isinstance(length, int)
    expected = expected_header_bytes(fields, BASE)
    assert expected is not None
    assert 8 + length <= expected <= 1.15 * (8 + length) + 700


PREFIX = "base_model.model."


@pytest.mark.parametrize(
    ("rename", "loads"),
    [
        (lambda key: key, True),
        (lambda key: key.replace(".weight", ".default.weight"), True),
        (lambda key: PREFIX * 2 + key, False),
        (lambda key: PREFIX + key, False),
        (lambda key: key.removeprefix(PREFIX), False),
        (lambda key: key.replace(".weight", ".mine.weight"), False),
        (lambda key: key.replace(PREFIX, PREFIX + "_orig_mod."), False),
        (lambda key: key.replace(PREFIX, PREFIX + "module."), False),
        (lambda key: key.replace(PREFIX, PREFIX + "model."), False),
        (lambda key: key.replace(".self_attn.", "._checkpoint_wrapped_module.self_attn."), False),
        (lambda key: key.replace(".weight", ""), False),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_a_key_is_called_unloaded_where_peft_would_pass_over_it(rename: Any, loads: bool, tmp_path: Path) -> None:
    get_peft_model(tiny_llama(), LoraConfig(target_modules=["q_proj"])).save_pretrained(tmp_path)
    weights = tmp_path / "adapter_model.safetensors"
    save_file({rename(key): torch.ones_like(tensor) for key, tensor in load_file(weights).items()}, weights)

    raw = weights.read_bytes()
    tensors = parse_header(raw[8 : 8 + int.from_bytes(raw[:8], "little")], len(raw))
    assert isinstance(tensors, tuple)
    loaded = PeftModel.from_pretrained(tiny_llama(), tmp_path)
    b = next(tensor for name, tensor in loaded.named_parameters() if "lora_B" in name)
    assert (bool(b.any()), unloaded_key(tensors) is None) == (loads, loads)


def test_fan_in_fan_out_is_corrected_by_peft_and_changes_nothing() -> None:
    layers = []
    for fan in (True, False):
        torch.manual_seed(0)
        config = LoraConfig(target_modules=["0"], fan_in_fan_out=fan, init_lora_weights=False)
        layers.append(get_peft_model(nn.Sequential(nn.Linear(4, 6)), config))
    x = torch.ones(1, 4)
    assert torch.equal(layers[0](x), layers[1](x))
