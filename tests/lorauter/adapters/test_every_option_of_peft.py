"""Every option of the installed PEFT's LoraConfig: admitted and served as PEFT serves it, or refused by name.

An adapter is made by PEFT for each value below (where PEFT refuses to make one, a sound adapter's config is changed by
hand, as people do), loaded by PEFT, judged by the rules, and served by the engine.
"""

from __future__ import annotations

import copy
import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM, PreTrainedModel

from catalog.adapters.adapter import AdapterId
from catalog.adapters.facts import RawAdapter, RepoListing, gather_facts
from catalog.bases.base import Base
from catalog.errors import UnsupportedAdapter
from catalog.rules.table import Policy, judge, judge_weights
from lorauter.adapters.base_modules import base_from_config
from lorauter.adapters.weights import JUDGED, read_adapter
from lorauter.adapters.weights_check import check_weights
from lorauter.engine.engine import Engine

pytestmark = [pytest.mark.usefixtures("one_thread"), pytest.mark.filterwarnings("ignore")]

BASE, SHA = "tiny/llama", "abc" + "0" * 37
CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
PLAIN: dict[str, Any] = {"r": 4, "lora_alpha": 8, "target_modules": ["q_proj", "v_proj"], "task_type": "CAUSAL_LM"}
PROMPTS = ["red cat", "Why is the dog blue?"]
FULL = "model.layers.1.self_attn.q_proj"
GROUPED = {"num_groups": 4, "scale": 1.0, "init_type": "random"}

Case = tuple[dict[str, Any], str | None]
"""Changes to the plain config, and the reason: None where it is admitted."""


def of(field: str, *values: object, reason: str | None = None) -> list[Case]:
    """One case a value of the field."""
    return [({field: value}, reason) for value in values]


# Field of LoraConfig → cases. A field that PEFT adds is missing here: the test says so.
CASES: dict[str, list[Case]] = {
    "task_type": [
        *of("task_type", "CAUSAL_LM", None),
        *of("task_type", "SEQ_CLS", "FEATURE_EXTRACTION", "causal_lm", "", reason="task_type"),
    ],
    "peft_type": [
        *of("peft_type", "LORA"),
        *of("peft_type", "lora", "ADALORA", reason="peft_type"),
        *of("peft_type", None, reason="not_peft"),
    ],
    "auto_mapping": [
        *of("auto_mapping", None, {"base_model_class": "LlamaForCausalLM", "parent_library": "transformers"}),
        *of("auto_mapping", {"base_model_class": "T5ForConditionalGeneration"}, reason="base_kind"),
    ],
    "peft_version": of("peft_version", None, "0.4.0", "99.0"),
    "base_model_name_or_path": [
        *of("base_model_name_or_path", BASE, "TINY/Llama", "unsloth/llama-bnb-4bit", "/models/llama"),
        *of("base_model_name_or_path", None, "", "./merged_sft_model", reason="unknown_base"),
        *of("base_model_name_or_path", "other/llama", reason="wrong_base"),
        *of("base_model_name_or_path", 7, reason="malformed_field"),
    ],
    "revision": [
        *of("revision", None, "", "main", "unsloth", SHA, SHA[:8]),
        *of("revision", "step1000", "f" * 40, reason="base_revision"),
        *of("revision", 7, reason="malformed_field"),
    ],
    "inference_mode": of("inference_mode", True, False),
    "r": [*of("r", 1, 3, 16), *of("r", 0, -1, 2.0, True, None, "8", reason="malformed_field")],
    "target_modules": [
        *of("target_modules", ["o_proj"], ["mlp.up_proj", FULL], ["lm_head", "k_proj"], "all-linear", "ALL-linear"),
        *of("target_modules", r".*\.1\..*(q|v)_proj", [FULL]),
        *of("target_modules", None, [], "", reason="no_targets"),
        *of("target_modules", ["q_proj", "embed_tokens"], reason="extra_tensors"),
        *of("target_modules", ["all-linear"], ["none"], reason="untargeted_modules"),
        *of("target_modules", "(q_proj", reason="undecidable_pattern"),
        *of("target_modules", [7], 7, reason="malformed_field"),
    ],
    "exclude_modules": [
        *of("exclude_modules", None, [], ["v_proj"], [FULL], r".*\.0\..*"),
        *of("exclude_modules", "(", reason="undecidable_pattern"),
        *of("exclude_modules", 7, reason="malformed_field"),
    ],
    "lora_alpha": [
        *of("lora_alpha", 1, 16.5, -8),
        *of("lora_alpha", 0, 0.0, reason="zero_b"),
        *of("lora_alpha", None, "16", True, 1e39, reason="malformed_field"),
    ],
    "lora_dropout": [
        *of("lora_dropout", 0, 0.05, 1.0),
        *of("lora_dropout", 1.5, "0.1", None, reason="malformed_field"),
    ],
    "fan_in_fan_out": [
        *of("fan_in_fan_out", True, False, None),
        *of("fan_in_fan_out", "no", reason="malformed_field"),
    ],
    "bias": [*of("bias", "none", "all", "lora_only"), *of("bias", "foo", None, reason="malformed_field")],
    "use_rslora": [
        *of("use_rslora", True, None),
        ({"use_rslora": True, "alpha_pattern": {"q_proj": 3}}, None),
        *of("use_rslora", "yes", 1, reason="malformed_field"),
    ],
    "modules_to_save": [
        *of("modules_to_save", None, []),
        *of("modules_to_save", ["lm_head"], "lm_head", reason="modules_to_save"),
        *of("modules_to_save", [7], reason="malformed_field"),
    ],
    "init_lora_weights": [
        *of("init_lora_weights", True, False, None, "", 0, "gaussian", "GAUSSIAN", "eva", "orthogonal", "lora_ga"),
        *of("init_lora_weights", "mica", "MiCA"),
        *of("init_lora_weights", "pissa", "pissa_niter_2", "olora", "OLoRA", "loftq", "corda", reason="changed_base"),
        *of("init_lora_weights", "kaiming", "EVA", "pissa_niter_x", 1, ["eva"], reason="malformed_field"),
        ({"init_lora_weights": "orthogonal", "r": 3}, "malformed_field"),
        ({"init_lora_weights": "mica", "r": 60}, "malformed_field"),
        ({"init_lora_weights": "mica", "use_dora": True}, "malformed_field"),
        ({"init_lora_weights": "eva", "use_dora": True}, None),
    ],
    "layers_to_transform": [
        *of("layers_to_transform", None, [], [1], 0, [0, 1]),
        *of("layers_to_transform", [7], reason="untargeted_modules"),
        *of("layers_to_transform", True, ["1"], reason="malformed_field"),
        ({"layers_to_transform": [1], "target_modules": ".*q_proj"}, "malformed_field"),
    ],
    "layers_pattern": [
        *of("layers_pattern", None, [], ""),
        ({"layers_pattern": "layers", "layers_to_transform": [1]}, None),
        ({"layers_pattern": ["h", "layers"], "layers_to_transform": [0]}, None),
        ({"layers_pattern": "h", "layers_to_transform": [0]}, "untargeted_modules"),
        *of("layers_pattern", "layers", reason="malformed_field"),
    ],
    "rank_pattern": [
        *of("rank_pattern", {}, {"q_proj": 2}, {r".*\.1\..*": 6}, {"^model.layers.0.self_attn.v_proj": 3}, {"k": 9}),
        *of("rank_pattern", None, [4], {"q_proj": 0}, {"q_proj": "4"}, reason="malformed_field"),
        *of("rank_pattern", {"(": 4}, reason="undecidable_pattern"),
    ],
    "alpha_pattern": [
        *of("alpha_pattern", {}, {"q_proj": 2}, {r".*\.1\..*": 6.5}, {"q_proj": 0}),
        *of("alpha_pattern", {"q_proj": 0, "v_proj": 0}, reason="zero_b"),
        *of("alpha_pattern", None, [4], {"q_proj": None}, reason="malformed_field"),
        *of("alpha_pattern", {"(": 4}, reason="undecidable_pattern"),
    ],
    "megatron_config": [*of("megatron_config", None, {}), *of("megatron_config", {"a": 1}, reason="unserved_option")],
    "megatron_core": of("megatron_core", None, "megatron.core", "elsewhere"),
    "trainable_token_indices": [
        *of("trainable_token_indices", None),
        *of("trainable_token_indices", [0, 1], {"embed_tokens": [3]}, [], {}, reason="unserved_option"),
    ],
    "loftq_config": of("loftq_config", None, {}, {"loftq_bits": 4, "loftq_iter": 1}),
    "eva_config": [
        *of("eva_config", None, {}, {"rho": 1.5, "tau": 0.5}),
        *of("eva_config", {"rho": 0.5}, {"tau": 2}, [], "x", reason="malformed_field"),
    ],
    "corda_config": [*of("corda_config", None, {}), *of("corda_config", "x", reason="malformed_field")],
    "lora_ga_config": [
        *of("lora_ga_config", None, {"direction": "ArBr"}),
        *of("lora_ga_config", False, reason="malformed_field"),
    ],
    "use_dora": [
        *of("use_dora", True, False, None),
        ({"use_dora": True, "use_rslora": True, "rank_pattern": {"v_proj": 2}}, None),
        ({"use_dora": True, "lora_alpha": 0}, None),
        *of("use_dora", "yes", reason="malformed_field"),
    ],
    "velora_config": [
        *of("velora_config", None),
        *of("velora_config", GROUPED, {}, False, reason="unserved_option"),
    ],
    "alora_invocation_tokens": [
        *of("alora_invocation_tokens", None),
        *of("alora_invocation_tokens", [1, 2], reason="alora"),
    ],
    "use_qalora": [*of("use_qalora", False, None), *of("use_qalora", True, reason="unserved_option")],
    "qalora_group_size": of("qalora_group_size", 16, 7, None),
    "monteclora_config": [
        *of("monteclora_config", None),
        *of("monteclora_config", {"num_samples": 2}, {}, reason="unserved_option"),
    ],
    "layer_replication": [
        *of("layer_replication", None, []),
        *of("layer_replication", [[0, 2], [1, 2]], reason="layer_replication"),
    ],
    "runtime_config": of("runtime_config", {"ephemeral_gpu_offload": False}, None),
    "lora_bias": [*of("lora_bias", False, None), *of("lora_bias", True, reason="bias")],
    "target_parameters": [
        *of("target_parameters", None, []),
        *of("target_parameters", ["mlp.up_proj.weight"], "x", reason="unserved_option"),
    ],
    "use_bdlora": [
        *of("use_bdlora", None),
        *of("use_bdlora", {"target_modules_bd_a": ["q_proj"], "nblocks": 2}, {}, False, reason="unserved_option"),
    ],
    "arrow_config": [*of("arrow_config", None), *of("arrow_config", {"top_k": 2}, {}, reason="unserved_option")],
    "kasa_config": [*of("kasa_config", None), *of("kasa_config", {"beta": 0.1}, {}, reason="unserved_option")],
    "ensure_weight_tying": [
        *of("ensure_weight_tying", False, None),
        *of("ensure_weight_tying", True, reason="unserved_option"),
    ],
}
FLAT = [(field, *case) for field, cases in CASES.items() for case in cases]


@pytest.fixture(scope="module")
def model(tiny_hub_folder: Path) -> PreTrainedModel:
    """The bare base; who changes it makes a copy."""
    found: PreTrainedModel = AutoModelForCausalLM.from_pretrained(tiny_hub_folder / BASE).eval()
    return found


@pytest.fixture(scope="module")
def base(tiny_hub_folder: Path) -> Base:
    return base_from_config(BASE, SHA, json.loads((tiny_hub_folder / BASE / "config.json").read_text()))


@pytest.fixture(scope="module")
def engine(tiny_hub_folder: Path) -> Iterator[Engine]:
    yield Engine(tiny_hub_folder / BASE, device="cpu", dtype="float32", capacity=1, find_adapter=Path, passing=JUDGED)


@pytest.mark.parametrize("field", [field.name for field in dataclasses.fields(LoraConfig)])
def test_every_field_of_peft_has_cases(field: str) -> None:
    assert CASES.get(field), (
        f"PEFT's LoraConfig has a field {field!r} that no case tries. Read in PEFT's source what it does, add values "
        "of it to CASES here, and say in catalog/adapters/config_fields.py whether it is known (KNOWN) and served "
        "(UNSERVED)."
    )


@pytest.mark.parametrize(("field", "changes", "reason"), FLAT)
def test_an_option_is_served_as_peft_serves_it_or_refused_by_name(
    field: str,
    changes: dict[str, Any],
    reason: str | None,
    model: PreTrainedModel,
    base: Base,
    engine: Engine,
    tmp_path: Path,
) -> None:
    make(tmp_path, model, changes)

    found = reasons(tmp_path, base)

    assert found[:1] == ([reason] if reason else [])
    if reason is None:
        ours = torch.cat([engine.next_logits([prompt], [((str(tmp_path), 1.0),)]) for prompt in PROMPTS])
        peft = logits(PeftModel.from_pretrained(copy.deepcopy(model), tmp_path).eval(), engine)
        torch.testing.assert_close(ours, peft, rtol=0, atol=1e-5)
        assert (peft - logits(model, engine)).abs().max() > 1e-3, "the case changes nothing, and shows nothing"
    elif reason not in ("unknown_base", "wrong_base"):
        with pytest.raises(UnsupportedAdapter, match=reason):
            read_adapter(tmp_path)


def make(folder: Path, model: PreTrainedModel, changes: dict[str, Any]) -> None:
    """The adapter, saved by PEFT with these options, its weights random; else a plain one with a changed config."""
    torch.manual_seed(0)
    wrapped = None
    for fields in (changes, {k: v for k, v in changes.items() if k != "init_lora_weights"}, {}):
        try:
            wrapped = get_peft_model(copy.deepcopy(model), LoraConfig(**PLAIN | fields))
            break
        except Exception:  # whatever PEFT says of values that nobody could train with
            continue
    assert wrapped is not None
    for name, tensor in wrapped.named_parameters():
        if "magnitude" in name:
            tensor.data *= 1 + 0.3 * torch.randn_like(tensor)
        elif "lora_" in name:
            tensor.data = 0.2 * torch.randn_like(tensor)
    wrapped.save_pretrained(str(folder), save_embedding_layers=False)
    config = json.loads((folder / CONFIG).read_text())
    (folder / CONFIG).write_text(json.dumps(config | {"base_model_name_or_path": BASE} | changes))


def reasons(folder: Path, base: Base) -> list[str]:
    """What the rules say, before the download and after it."""
    raw = (folder / WEIGHTS).read_bytes()
    header = raw[8 : 8 + int.from_bytes(raw[:8], "little")].decode()
    listing = RepoListing("ann/x", "f" * 40, (CONFIG, WEIGHTS))
    read = RawAdapter((folder / CONFIG).read_text(), header, len(raw))
    facts = gather_facts(listing, AdapterId("ann/x", "", "f" * 40), read)
    found = judge(facts, base, Policy()) or judge_weights(facts, check_weights(folder / WEIGHTS).facts)
    return [finding.reason for finding in found]


def logits(model: Any, engine: Engine) -> torch.Tensor:
    """Logits of the token after each prompt."""
    rows = [engine.tokenizer(prompt, return_tensors="pt")["input_ids"] for prompt in PROMPTS]
    with torch.inference_mode():
        return torch.cat([model(input_ids=ids).logits[:, -1].float() for ids in rows])
