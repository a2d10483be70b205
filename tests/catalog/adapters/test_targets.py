"""Targets, scalings and patterns: what the config means, and that no pattern can hang us."""

from __future__ import annotations

import math
import time
from typing import Any

import pytest

from catalog.adapters.patterns import Patience, Undecided
from catalog.adapters.scaling import declared_rank, scaling_of
from catalog.bases.base import Base
from catalog.bases.target_modules import expected_header_bytes, resolve_targets

LAYERS = [f"model.layers.{i}.{m}" for i in range(12) for m in ("self_attn.q_proj", "self_attn.v_proj", "mlp.up_proj")]
BASE = Base("a/b", "0" * 40, {**dict.fromkeys(LAYERS, (8, 8)), "lm_head": (8, 99)}, {"model.embed_tokens": (99, 8)})
SLOW = r"([\w.]{1,9}){1,30}[^\w.]"  # each way to cut a name in pieces is tried
Q = [m for m in LAYERS if m.endswith("q_proj")]


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"target_modules": ["q_proj"]}, Q),
        ({"target_modules": ["model.layers.3.self_attn.q_proj", "_proj"]}, [LAYERS[9]]),
        ({"target_modules": r".*\.(0|1)\..*q_proj"}, Q[:2]),
        ({"target_modules": "q_proj"}, []),
        ({"target_modules": "All-Linear"}, LAYERS),
        ({"target_modules": "all-linear", "exclude_modules": ["v_proj", "up_proj"]}, Q),
        ({"target_modules": ["q_proj", "v_proj"], "exclude_modules": r".*v_proj"}, Q),
        ({"target_modules": ["q_proj", "v_proj"], "modules_to_save": ["v_proj"]}, Q),
        ({"target_modules": ["q_proj"], "layers_to_transform": [0, 11]}, [Q[0], Q[11]]),
        ({"target_modules": ["q_proj"], "layers_to_transform": 3}, [Q[3]]),
        ({"target_modules": ["q_proj"], "layers_to_transform": [0], "layers_pattern": "layers"}, Q[:1]),
        ({"target_modules": ["q_proj"], "layers_to_transform": [0], "layers_pattern": ["h"]}, []),
        ({"target_modules": None}, None),
        ({"target_modules": [1]}, None),
        ({"target_modules": "("}, None),
        ({"target_modules": "x" * 40_000}, None),
    ],
)
def test_targets_are_resolved_against_the_base(config: dict[str, Any], expected: list[str] | None) -> None:
    assert resolve_targets(config, BASE) == (None if expected is None else frozenset(expected))


@pytest.mark.parametrize(
    "config",
    [
        {"target_modules": SLOW},
        {"target_modules": ["q_proj"], "exclude_modules": SLOW},
        {"target_modules": ["q_proj"], "layers_to_transform": [1], "layers_pattern": SLOW},
    ],
)
def test_a_pattern_that_never_ends_is_undecidable_within_half_a_second(config: dict[str, Any]) -> None:
    began = time.thread_time()
    found = resolve_targets(config, BASE)
    assert found is None
    assert time.thread_time() - began < 0.5


def test_all_patterns_of_an_adapter_share_their_time() -> None:
    patience = Patience(0.05)
    with pytest.raises(Undecided, match=r"longer than 0\.05 seconds"):
        for _ in range(1000):
            patience.first_end((SLOW,), Q[0])


def test_a_tool_that_names_every_module_is_read_in_time() -> None:
    modules = [f"model.layers.{i}.mlp.{m}_proj" for i in range(200) for m in ("up", "gate", "down", "q", "k", "v")]
    config = {"alpha_pattern": {module: i for i, module in enumerate(modules)}}
    patience = Patience()
    assert [scaling_of(m, 1, config, patience) for m in modules] == [float(i) for i in range(len(modules))]


def test_the_first_key_wins_and_a_dot_is_any_character() -> None:
    keys = (r"v_\w+", "self_attn.q_proj", "self.attn.q.proj", "q_proj", "proj")
    found = [Patience().first_end(keys[i:], Q[0]) for i in range(5)]
    assert found == ["self_attn.q_proj", "self_attn.q_proj", "self.attn.q.proj", "q_proj", None]


def test_scalings_of_hostile_patterns_end() -> None:
    patience, began = Patience(), time.thread_time()
    config = {"alpha_pattern": {SLOW + str(i): 1 for i in range(100)}}
    with pytest.raises(ValueError, match="longer than"):
        for module in LAYERS * 100:
            scaling_of(module, 2, config, patience)
    assert time.thread_time() - began < 0.5


@pytest.mark.parametrize(
    ("config", "rank", "scaling"),
    [
        ({"r": 4, "lora_alpha": 6}, 4, 3.0),
        ({}, 8, 4.0),
        ({"lora_alpha": 6.5, "use_rslora": True}, 8, 6.5 / math.sqrt(2)),
        ({"r": 4, "rank_pattern": {"q_proj": 2}, "alpha_pattern": {r"layers\.0\..*": 10}}, 2, 5.0),
    ],
)
def test_rank_and_scaling_of_a_module(config: dict[str, Any], rank: int, scaling: float) -> None:
    assert (declared_rank(Q[0], config), scaling_of(Q[0], 2, config)) == (rank, scaling)


@pytest.mark.parametrize("alpha", ["8", None, True, float("inf"), [8]])
def test_an_alpha_that_is_no_number_is_named(alpha: object) -> None:
    with pytest.raises(ValueError, match="lora_alpha is"):
        scaling_of(Q[0], 2, {"lora_alpha": alpha})


def test_a_header_that_cannot_be_foreseen_is_unknown() -> None:
    configs: list[dict[str, Any]] = [{"target_modules": None}, {"target_modules": ["q_proj"], "r": "8"}]
    configs.append({"target_modules": ["q_proj"], "layer_replication": [[0, 2]]})
    assert [expected_header_bytes(config, BASE) for config in configs] == [None, None, None]
