"""Adapter weights: one PEFT folder read to the pairs A, B that the engine serves.

Knows: PEFT 0.21's file names, tensor names and scaling rules, and which features have no exact
serving here. Does not know: the base model (lorauter/adapter_bank checks modules and shapes),
devices, or where folders come from.

Only safetensors are read: a pickle can run code. Whatever could change the output and is not
served exactly is refused by name, so a text from the engine is always what PEFT would give.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from peft.tuners.tuners_utils import check_target_module_exists
from safetensors import SafetensorError
from safetensors.torch import load_file

from catalog.errors import UnsupportedAdapter

CONFIG_FILE = "adapter_config.json"
WEIGHTS_FILE = "adapter_model.safetensors"
PREFIX = "base_model.model."
SUFFIXES = {".lora_A.weight": "a", ".lora_B.weight": "b", ".lora_magnitude_vector": "magnitude"}

# Options that change the served function in ways this engine does not compute, as named in
# peft.LoraConfig; a false, null or empty value means that the option is off.
REFUSED_OPTIONS = (
    "alora_invocation_tokens",
    "arrow_config",
    "ensure_weight_tying",
    "fan_in_fan_out",
    "kasa_config",
    "layer_replication",
    "lora_bias",
    "modules_to_save",
    "monteclora_config",
    "target_parameters",
    "trainable_token_indices",
    "use_bdlora",
    "use_qalora",
    "velora_config",
)
# Other initialisations (PiSSA, OLoRA, CorDA, LoftQ, LoRA-GA, MiCA) rewrite the base's weights on load.
PLAIN_INITS = (True, False, "gaussian", "eva", "orthogonal")
TENSOR_FEATURES = {
    ".lora_embedding_A": "LoRA on embeddings",
    ".lora_embedding_B": "LoRA on embeddings",
    ".lora_B.bias": "lora_bias",
    ".base_layer.weight": "a saved base layer",
    ".token_adapter.trainable_tokens_delta": "trainable tokens",
    ".bias": "trained biases",
}


@dataclass(frozen=True, slots=True, eq=False)
class LoraPair:
    """The adapter at one Linear: ΔW = scaling · B A, rescaled by rows where it is a DoRA.

    Args:
        a: (r, d_in), as stored. b: (d_out, r), as stored.
        scaling: alpha / r, or alpha / sqrt(r) for rsLoRA.
        magnitude: DoRA's m, (d_out,); None for a LoRA.
    """

    a: torch.Tensor
    b: torch.Tensor
    scaling: float
    magnitude: torch.Tensor | None = None


@dataclass(frozen=True, slots=True)
class AdapterWeights:
    """One adapter: its pairs by the dotted name of the base's module."""

    modules: Mapping[str, LoraPair]


def read_adapter(folder: Path) -> AdapterWeights:
    """Reads `adapter_config.json` and `adapter_model.safetensors` of a folder, on the CPU.

    Raises:
        UnsupportedAdapter: a file is missing or damaged, or the adapter uses a feature that
            cannot be served exactly.
    """
    config = _read_config(folder)
    _refuse_options(config)
    try:
        tensors = load_file(folder / WEIGHTS_FILE)
    except (OSError, SafetensorError) as error:
        raise _refusal(f"has no readable {WEIGHTS_FILE} ({error})") from error
    modules = _group(tensors)
    if not modules:
        raise _refusal("holds no LoRA tensors")
    try:
        _refuse_untargeted(modules, config)
        return AdapterWeights({name: _pair(name, parts, config) for name, parts in modules.items()})
    except (
        TypeError,
        ValueError,
        re.error,
    ) as error:  # e.g. an alpha that is no number, a key that is no regex
        raise _refusal(f"has a malformed {CONFIG_FILE} ({error})") from error


def scaling_of(module: str, rank: int, config: Mapping[str, Any]) -> float:
    """PEFT's scaling for one module (peft.tuners.lora.layer.LoraLayer.update_layer).

    Args:
        module: dotted name in the base, without PEFT's prefix.
        rank: rows of A. The tensor's rank wins over `r` and `rank_pattern`: PEFT fails to load
            an adapter where they differ, so there is nothing else it could mean.
        config: the parsed adapter_config.json.
    """
    patterns = config.get("alpha_pattern") or {}
    alpha = patterns.get(pattern_key(patterns, module), config.get("lora_alpha", 8))
    return float(alpha / math.sqrt(rank) if config.get("use_rslora") else alpha / rank)


def pattern_key(patterns: Mapping[str, Any], module: str) -> str | None:
    """The first key that matches a suffix of the module's name (peft.utils.get_pattern_key)."""
    return next((key for key in patterns if re.match(rf"(.*\.)?({key})$", module)), None)


def _read_config(folder: Path) -> dict[str, Any]:
    try:
        config = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _refusal(f"has no readable {CONFIG_FILE} ({error})") from error
    if not isinstance(config, dict):
        raise _refusal(f"has no JSON object in {CONFIG_FILE}")
    return config


def _refuse_options(config: Mapping[str, Any]) -> None:
    if config.get("peft_type") != "LORA":
        raise _refusal(f"has peft_type {config.get('peft_type')!r}, not LORA")
    for option in REFUSED_OPTIONS:
        if config.get(option):
            raise _refusal(f"uses {option}")
    init = config.get("init_lora_weights", True)
    if init not in PLAIN_INITS:
        raise _refusal(f"uses init_lora_weights={init!r}, which rewrites the base's weights")


def _refuse_untargeted(modules: Iterable[str], config: Mapping[str, Any]) -> None:
    """PEFT ignores tensors at modules that the config does not target; their author meant them to act."""
    if config.get("target_modules") == "all-linear":  # PEFT resolves it against the base
        return
    if not config.get("target_modules"):
        raise _refusal("names no target_modules")
    names = ("target_modules", "exclude_modules", "layers_to_transform", "layers_pattern")
    matched = SimpleNamespace(**{name: config.get(name) for name in names})
    for module in modules:
        if not check_target_module_exists(matched, module):
            raise _refusal(f"holds tensors outside its target_modules, at {module}")


def _group(tensors: Mapping[str, torch.Tensor]) -> dict[str, dict[str, torch.Tensor]]:
    """Tensors by module, then by part ("a", "b", "magnitude")."""
    modules: dict[str, dict[str, torch.Tensor]] = {}
    for key, tensor in tensors.items():
        suffix = next((s for s in SUFFIXES if key.endswith(s)), None)
        if suffix is None or not key.startswith(PREFIX):
            raise _refusal(_name_feature(key))
        name = key[len(PREFIX) : -len(suffix)]
        modules.setdefault(name, {})[SUFFIXES[suffix]] = tensor
    return modules


def _name_feature(key: str) -> str:
    for suffix, feature in TENSOR_FEATURES.items():
        if key.endswith(suffix):
            return f"uses {feature} (tensor {key})"
    return f"holds an unknown tensor ({key})"


def _pair(name: str, parts: Mapping[str, torch.Tensor], config: Mapping[str, Any]) -> LoraPair:
    a, b, magnitude = parts.get("a"), parts.get("b"), parts.get("magnitude")
    if a is None or b is None:
        raise _refusal(f"holds only one of lora_A and lora_B at {name}")
    if a.ndim != 2 or b.ndim != 2:
        raise _refusal(f"uses LoRA on a convolution at {name}")
    rank = a.shape[0]
    if rank == 0 or b.shape[1] != rank:
        raise _refusal(f"has a shape mismatch at {name}: A {tuple(a.shape)}, B {tuple(b.shape)}")
    if (magnitude is not None) != bool(config.get("use_dora")):
        raise _refusal(f"has use_dora and lora_magnitude_vector disagree at {name}")
    if magnitude is not None and magnitude.shape != (b.shape[0],):
        raise _refusal(f"has a shape mismatch at {name}: magnitude {tuple(magnitude.shape)}")
    return LoraPair(a, b, scaling_of(name, rank, config), magnitude)


def _refusal(what: str) -> UnsupportedAdapter:
    return UnsupportedAdapter(f"The adapter {what}.", "Leave it out of the pool.")
