"""Stories of reading one adapter folder: what is served, with which scaling, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from catalog.errors import UnsupportedAdapter
from lorauter.adapters.weights import JUDGED, PREFIX, read_adapter

Q = "model.layers.0.self_attn.q_proj"
PAIR: dict[str, tuple[int, ...]] = {
    f"{PREFIX}{Q}.lora_A.weight": (2, 8),
    f"{PREFIX}{Q}.lora_B.weight": (8, 2),
}
PLAIN = {"peft_type": "LORA", "r": 2, "lora_alpha": 6, "target_modules": ["q_proj"]}


def write(folder: Path, shapes: dict[str, tuple[int, ...]] = PAIR, **config: Any) -> Path:
    (folder / "adapter_config.json").write_text(json.dumps(PLAIN | config))
    save_file({key: torch.ones(shape) for key, shape in shapes.items()}, folder / "adapter_model.safetensors")
    return folder


def test_a_plain_adapter_is_read_by_module(tmp_path: Path) -> None:
    pair = read_adapter(write(tmp_path)).modules[Q]

    assert (pair.a.shape, pair.b.shape, pair.scaling, pair.magnitude) == ((2, 8), (8, 2), 3.0, None)


def test_a_dora_keeps_its_magnitude(tmp_path: Path) -> None:
    folder = write(tmp_path, PAIR | {f"{PREFIX}{Q}.lora_magnitude_vector": (8,)}, use_dora=True)

    magnitude = read_adapter(folder).modules[Q].magnitude

    assert magnitude is not None
    assert magnitude.shape == (8,)


def test_every_module_has_the_scaling_that_its_config_gives_it(tmp_path: Path) -> None:
    v = "model.layers.1.self_attn.v_proj"
    shapes = PAIR | {f"{PREFIX}{v}.lora_A.weight": (4, 8), f"{PREFIX}{v}.lora_B.weight": (8, 4)}
    folder = write(
        tmp_path, shapes, target_modules="all-linear", alpha_pattern={"v_proj": 10}, rank_pattern={"v_proj": 4}
    )

    assert {name: pair.scaling for name, pair in read_adapter(folder).modules.items()} == {Q: 3.0, v: 2.5}


def test_fan_in_fan_out_is_served(tmp_path: Path) -> None:
    assert list(read_adapter(write(tmp_path, fan_in_fan_out=True)).modules) == [Q]


def test_a_key_that_kept_the_adapters_name_is_read(tmp_path: Path) -> None:
    kept = {key.replace(".weight", ".default.weight"): shape for key, shape in PAIR.items()}

    assert list(read_adapter(write(tmp_path, kept)).modules) == [Q]


@pytest.mark.parametrize(
    "config",
    [
        {"alora_invocation_tokens": [1]},
        {"kasa_config": {}, "layer_replication": [[0, 1]]},
        {"lora_bias": True},
        {"modules_to_save": ["lm_head"]},
        {"target_parameters": ["experts"]},
        {"trainable_token_indices": [1]},
        {"use_qalora": True},
        {"init_lora_weights": "pissa_niter_4"},
        {"peft_type": "IA3"},
    ],
)
def test_an_option_that_is_not_served_is_refused_by_name(tmp_path: Path, config: dict[str, Any]) -> None:
    with pytest.raises(UnsupportedAdapter, match=list(config)[-1]):
        read_adapter(write(tmp_path, **config))


@pytest.mark.parametrize(
    ("key", "shape", "feature"),
    [
        (f"{PREFIX}model.embed_tokens.lora_embedding_A", (2, 8), "LoRA on embeddings"),
        (f"{PREFIX}{Q}.lora_B.bias", (8,), r"q_proj\.lora_B\.bias"),
        (f"{PREFIX}{Q}.bias", (8,), "1 trained biases"),
        (f"{PREFIX}lm_head.base_layer.weight", (8, 8), "a saved base layer"),
        (f"{PREFIX}model.embed_tokens.token_adapter.trainable_tokens_delta", (1, 8), "trainable tokens"),
        (f"{PREFIX}{Q}.lora_A.default.weight", (2, 8), "two tensors for one place"),
        (f"{PREFIX}{Q}.lora_A.mine.weight", (2, 8), "not served"),
        (f"{Q}.lora_A.weight", (2, 8), "not served"),
        (f"{PREFIX}{Q}.lora_magnitude_vector", (8,), "use_dora"),
        (f"{PREFIX}model.layers.0.self_attn.k_proj.lora_A.weight", (2, 8), "only one of lora_A and lora_B"),
    ],
)
def test_a_tensor_that_is_not_served_is_refused_by_name(
    tmp_path: Path, key: str, shape: tuple[int, ...], feature: str
) -> None:
    with pytest.raises(UnsupportedAdapter, match=feature):
        read_adapter(write(tmp_path, PAIR | {key: shape}))


@pytest.mark.parametrize(
    ("shapes", "reason"),
    [
        ({}, "no_lora_tensors"),
        ({f"{PREFIX}{Q}.lora_A.weight": (2, 8)}, "only one of lora_A and lora_B"),
        (PAIR | {f"{PREFIX}{Q}.lora_B.weight": (8, 3)}, "shape mismatch"),
        (PAIR | {f"{PREFIX}{Q}.lora_A.weight": (2, 8, 1)}, "convolution"),
    ],
)
def test_incomplete_pairs_are_refused(tmp_path: Path, shapes: dict[str, Any], reason: str) -> None:
    with pytest.raises(UnsupportedAdapter, match=reason):
        read_adapter(write(tmp_path, shapes))


ELSEWHERE = {key.replace("q_proj", "k_proj"): shape for key, shape in PAIR.items()}
HEAD = {key.replace(Q, "lm_head"): shape for key, shape in PAIR.items()}
COMPILED = {key.replace(PREFIX, f"{PREFIX}_orig_mod."): shape for key, shape in PAIR.items()}


@pytest.mark.parametrize(
    ("shapes", "config", "reason"),
    [
        (PAIR | ELSEWHERE, {}, "untargeted_modules"),
        (PAIR | HEAD, {"target_modules": "all-linear"}, "untargeted_modules"),
        (COMPILED, {}, "key_prefix"),
        (PAIR, {"r": 4}, "rank_mismatch"),
        (PAIR, {"lora_alpha": 0}, "zero_b"),
        (PAIR, {"revision": "step1000"}, "base_revision"),
        (PAIR, {"bias": "foo"}, "malformed_field"),
        (PAIR, {"init_lora_weights": "kaiming"}, "malformed_field"),
        (PAIR, {"enable_lora": [True]}, "unknown_fields"),
        (PAIR, {"fine_tune_type": "lora"}, "hybrid_config"),
        (PAIR, {"kasa_config": {}}, "unserved_option"),
        (PAIR, {"task_type": "SEQ_CLS"}, "task_type"),
    ],
)
def test_what_the_rules_refuse_is_refused_without_them(
    tmp_path: Path, shapes: dict[str, tuple[int, ...]], config: dict[str, Any], reason: str
) -> None:
    with pytest.raises(UnsupportedAdapter, match=rf"is not served \({reason}\)"):
        read_adapter(write(tmp_path, shapes, **config))


@pytest.mark.parametrize(
    ("a", "b", "reason"),
    [
        (0.0, 1.0, "zero_b"),
        (1.0, 0.0, "zero_b"),
        (1e30, 1e30, "non_finite"),
        (1.0, float("nan"), "non_finite"),
        (1e20, 1e18, "non_finite"),  # two ranks, scaled by 3
    ],
)
def test_numbers_that_change_nothing_or_are_none_are_refused(tmp_path: Path, a: float, b: float, reason: str) -> None:
    write(tmp_path)
    sides = {f"{PREFIX}{Q}.lora_A.weight": torch.full((2, 8), a), f"{PREFIX}{Q}.lora_B.weight": torch.full((8, 2), b)}
    save_file(sides, tmp_path / "adapter_model.safetensors")

    with pytest.raises(UnsupportedAdapter, match=rf"is not served \({reason}\)"):
        read_adapter(tmp_path)


def test_who_serves_what_a_catalog_admitted_leaves_revision_and_rank_to_it(tmp_path: Path) -> None:
    pair = read_adapter(write(tmp_path, r=4, revision="step1000"), JUDGED).modules[Q]

    assert pair.scaling == 3.0, "the rank of the tensors counts"


def test_bias_all_without_bias_tensors_is_served(tmp_path: Path) -> None:
    assert list(read_adapter(write(tmp_path, bias="all")).modules) == [Q]


def test_a_pickle_is_never_read(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "adapter_model.safetensors").rename(tmp_path / "adapter_model.bin")

    with pytest.raises(UnsupportedAdapter, match=r"no readable adapter_model\.safetensors"):
        read_adapter(tmp_path)


@pytest.mark.parametrize("config", [{"lora_alpha": "six"}, {"alpha_pattern": {"(": 1}}, {"alpha_pattern": 7}])
def test_a_malformed_config_is_refused(tmp_path: Path, config: dict[str, Any]) -> None:
    with pytest.raises(UnsupportedAdapter, match=r"malformed_field|undecidable_pattern"):
        read_adapter(write(tmp_path, **config))
