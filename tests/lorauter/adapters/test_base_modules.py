"""A base's modules from its config: those of the real model, and no harm from a config that is not honest."""

from __future__ import annotations

from typing import Any

import pytest
from peft import LoraConfig, get_peft_model
from transformers import CONFIG_MAPPING, AutoModelForCausalLM
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_CAUSAL_LM_MAPPING_NAMES as CAUSAL,
)
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES,
)

from catalog.bases.target_modules import resolve_targets
from catalog.errors import HubError
from lorauter.adapters.base_modules import UnknownArchitecture, _check_kind, base_from_config

SHA = "0" * 40
LLAMA: dict[str, Any] = {
    "vocab_size": 50,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "pad_token_id": 0,
}
WIDE_HEADS = LLAMA | {"head_dim": 16}
BLOOM: dict[str, Any] = {"vocab_size": 50, "hidden_size": 32, "n_layer": 2, "n_head": 4}
GPT2: dict[str, Any] = {"vocab_size": 50, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 16}
FAMILIES = {
    "gpt2": GPT2,
    "llama": LLAMA,
    "mistral": LLAMA,
    "qwen2": LLAMA,
    "qwen3": WIDE_HEADS,
    "gpt_neox": LLAMA,
    "gemma2": WIDE_HEADS,
    "gemma3_text": WIDE_HEADS,
    "phi3": LLAMA,
    "phi": LLAMA,
    "falcon": LLAMA,
    "bloom": BLOOM,
    "opt": LLAMA | {"ffn_dim": 48, "word_embed_proj_dim": 32, "max_position_embeddings": 16},
}


@pytest.mark.parametrize("family", FAMILIES)
def test_modules_are_those_of_the_real_model_with_lora_on_all_linear(family: str) -> None:
    fields = FAMILIES[family]
    model = AutoModelForCausalLM.from_config(CONFIG_MAPPING[family].from_dict(dict(fields)))
    wrapped = get_peft_model(model, LoraConfig(target_modules="all-linear", r=2))
    real = {
        name.removeprefix("base_model.model."): (m.lora_A["default"].in_features, m.lora_B["default"].out_features)
        for name, m in wrapped.named_modules()
        if getattr(m, "lora_A", None)
    }

    base = base_from_config("a/b", SHA, {"model_type": family, **fields})

    targets = resolve_targets({"target_modules": "all-linear"}, base) or ()
    assert {name: base.modules[name] for name in targets} == real


@pytest.mark.parametrize("kind", [k for k in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES if k in CAUSAL])
def test_a_type_that_also_takes_pictures_is_a_causal_lm_where_transformers_builds_one(kind: str) -> None:
    config = {"model_type": kind, "architectures": [MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES[kind]]}
    assert _is_accepted(config)
    assert not _is_accepted(config | {"architectures": ["SomethingForSequenceClassification"]})


def _is_accepted(config: dict[str, Any]) -> bool:
    try:
        _check_kind("a/b", config)
    except HubError:
        return False
    return True


def test_the_modules_are_those_of_the_causal_lm_inside() -> None:
    text = {**LLAMA, "head_dim": 8, "layer_types": ["full_attention", "full_attention"], "model_type": "qwen3_5_text"}
    config = {"model_type": "qwen3_5", "architectures": ["Qwen3_5ForConditionalGeneration"], "text_config": text}

    base = base_from_config("a/b", SHA, config)

    assert base.modules["model.layers.1.self_attn.v_proj"] == (32, 16)
    assert not any("visual" in name for name in base.modules)


def test_gpt2_has_its_embeddings_and_its_head_beside() -> None:
    base = base_from_config("a/gpt2", SHA, {"model_type": "gpt2", "architectures": ["GPT2LMHeadModel"], **GPT2})

    assert base.modules["transformer.h.0.attn.c_attn"] == (32, 96)
    assert base.modules["lm_head"] == (32, 50)
    assert base.embeddings == {"transformer.wte": (50, 32), "transformer.wpe": (16, 32)}
    assert (base.id, base.sha, base.source) == ("a/gpt2", SHA, "config")


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ({"model_type": "whisper", "architectures": ["WhisperForConditionalGeneration"]}, "WhisperForConditionalGen"),
        ({"model_type": "bert", "architectures": ["BertForMaskedLM"]}, "BertForMaskedLM"),
        ({"model_type": "bert"}, "bert"),
        ({"model_type": "t5", "architectures": ["T5ForConditionalGeneration"]}, "T5ForConditionalGeneration"),
        ({"model_type": "clip"}, "clip"),
        ({"model_type": "llama", "architectures": ["LlamaForSequenceClassification"]}, "LlamaForSequenceClass"),
    ],
)
def test_what_is_no_causal_language_model_is_refused_by_its_name(config: dict[str, Any], told: str) -> None:
    with pytest.raises(HubError, match=f"is no causal language model .{told}"):
        base_from_config("a/b", SHA, config)


@pytest.mark.parametrize("kind", ["chatglm", "internlm", None, 7, ["llama"]])
def test_an_architecture_that_transformers_does_not_know_is_told_apart(kind: object) -> None:
    with pytest.raises(UnknownArchitecture, match="transformers cannot build"):
        base_from_config("a/b", SHA, {"model_type": kind, "architectures": ["InternLMForCausalLM"]})


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"num_hidden_layers": 10_000_000}, "num_hidden_layers = 1e.07, the limit is 1024"),
        ({"hidden_size": 1 << 40}, "hidden_size = .*, the limit is"),
        ({"vocab_size": -(1 << 30)}, "vocab_size = .*, the limit is"),
        ({"hidden_size": "wide"}, "transformers builds no model"),
        ({"num_attention_heads": 0}, "transformers builds no model"),
    ],
)
def test_absurd_configs_are_refused_before_they_cost_anything(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(HubError, match=told):
        base_from_config("a/b", SHA, {"model_type": "llama", **LLAMA, **changes})


def test_code_quantisation_and_dtypes_of_a_config_are_left_out() -> None:
    extras = {
        "auto_map": {"AutoModelForCausalLM": "evil/repo--modeling.Evil"},
        "quantization_config": {"quant_method": "bitsandbytes", "load_in_4bit": True},
        "torch_dtype": "no_such_dtype",
        "_attn_implementation": "flash_attention_9",
    }

    plain = base_from_config("a/b", SHA, {"model_type": "llama", **LLAMA})

    assert base_from_config("a/b", SHA, {"model_type": "llama", **LLAMA, **extras}) == plain
