"""Llama on paper: the files of a base and of its LoRA adapters, from sizes alone.

Knows: tensor names and shapes, the safetensors layout, configs. Does not know: repos, where the weights come from.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

QV = ("q_proj", "v_proj")
ALL_LINEAR = ("down_proj", "gate_proj", "k_proj", "o_proj", "q_proj", "up_proj", "v_proj")
_MLP = ("down_proj", "gate_proj", "up_proj")
_BF16_BYTES = 2

Shapes = list[tuple[str, tuple[int, ...]]]


@dataclass(frozen=True, slots=True)
class Geometry:
    """The sizes of a Llama; SmolLM2-135M's where nothing else is said. `kv`: width of keys and of values."""

    hidden: int = 576
    layers: int = 30
    kv: int = 192
    intermediate: int = 1536
    heads: int = 9
    vocab: int = 49152

    def linears(self) -> dict[str, tuple[int, int]]:
        """The linear modules of a layer: name → (d_in, d_out)."""
        hidden, wide = self.hidden, self.intermediate
        return {
            "down_proj": (wide, hidden),
            "gate_proj": (hidden, wide),
            "k_proj": (hidden, self.kv),
            "o_proj": (hidden, hidden),
            "q_proj": (hidden, hidden),
            "up_proj": (hidden, wide),
            "v_proj": (hidden, self.kv),
        }


@lru_cache(8)
def base_header(geometry: Geometry) -> bytes:
    """Length and header of the base's model.safetensors, embeddings tied."""
    hidden, shapes = geometry.hidden, Shapes()
    shapes += [("model.embed_tokens.weight", (geometry.vocab, hidden)), ("model.norm.weight", (hidden,))]
    for layer in range(geometry.layers):
        prefix = f"model.layers.{layer}."
        shapes += [(f"{prefix}{norm}.weight", (hidden,)) for norm in ("input_layernorm", "post_attention_layernorm")]
        shapes += [(f"{prefix}{_path(m)}.weight", (d_out, d_in)) for m, (d_in, d_out) in geometry.linears().items()]
    return _header(shapes)


def lora_header(geometry: Geometry, rank: int, targets: tuple[str, ...]) -> bytes:
    """Length and header of an adapter_model.safetensors as PEFT saves it."""
    shapes, sizes = Shapes(), geometry.linears()
    for layer in range(geometry.layers):
        for target in targets:
            prefix, (d_in, d_out) = f"base_model.model.model.layers.{layer}.{_path(target)}", sizes[target]
            shapes += [(f"{prefix}.lora_A.weight", (rank, d_in)), (f"{prefix}.lora_B.weight", (d_out, rank))]
    return _header(shapes)


def data_bytes(header: bytes) -> int:
    """The bytes of tensors that a header announces."""
    told: dict[str, Any] = json.loads(header[8:])
    return max(int(entry["data_offsets"][1]) for name, entry in told.items() if name != "__metadata__")


@lru_cache(8)
def base_config(geometry: Geometry) -> bytes:
    """The base's config.json."""
    size = geometry.hidden // geometry.heads
    fields = {
        "architectures": ["LlamaForCausalLM"],
        "attention_bias": False,
        "head_dim": size,
        "hidden_act": "silu",
        "hidden_size": geometry.hidden,
        "intermediate_size": geometry.intermediate,
        "max_position_embeddings": 8192,
        "model_type": "llama",
        "num_attention_heads": geometry.heads,
        "num_hidden_layers": geometry.layers,
        "num_key_value_heads": geometry.kv // size,
        "rms_norm_eps": 1e-05,
        "rope_theta": 100000,
        "tie_word_embeddings": True,
        "torch_dtype": "bfloat16",
        "vocab_size": geometry.vocab,
    }
    return json.dumps(fields, indent=2).encode()


@lru_cache(128)
def lora_config(base: str, rank: int, targets: tuple[str, ...], task_type: str) -> bytes:
    """An adapter_config.json as PEFT 0.21 saves it: long enough for the Hub to pack it."""
    fields: dict[str, Any] = {
        "alora_invocation_tokens": None,
        "alpha_pattern": {},
        "arrow_config": None,
        "auto_mapping": None,
        "base_model_name_or_path": base,
        "bias": "none",
        "corda_config": None,
        "ensure_weight_tying": False,
        "eva_config": None,
        "exclude_modules": None,
        "fan_in_fan_out": False,
        "inference_mode": True,
        "init_lora_weights": True,
        "kasa_config": None,
        "layer_replication": None,
        "layers_pattern": None,
        "layers_to_transform": None,
        "loftq_config": {},
        "lora_alpha": 2 * rank,
        "lora_bias": False,
        "lora_dropout": 0.05,
        "lora_ga_config": None,
        "megatron_config": None,
        "megatron_core": "megatron.core",
        "modules_to_save": None,
        "monteclora_config": None,
        "peft_type": "LORA",
        "peft_version": "0.21.0",
        "qalora_group_size": 16,
        "r": rank,
        "rank_pattern": {},
        "revision": None,
        "target_modules": list(targets),
        "target_parameters": None,
        "task_type": task_type,
        "trainable_token_indices": None,
        "use_bdlora": None,
        "use_dora": False,
        "use_qalora": False,
        "use_rslora": False,
        "velora_config": None,
    }
    return json.dumps(fields, indent=2).encode()


def _path(module: str) -> str:
    return f"{'mlp' if module in _MLP else 'self_attn'}.{module}"


def _header(shapes: Shapes) -> bytes:
    """BF16 tensors end to end, by name; spaces at the end, so that the data begins at a multiple of 8."""
    told: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, shape in sorted(shapes):
        start, end = end, end + _BF16_BYTES * _product(shape)
        told[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [start, end]}
    text = json.dumps(told, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def _product(shape: tuple[int, ...]) -> int:
    size = 1
    for side in shape:
        size *= side
    return size
