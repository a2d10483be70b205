"""Adapter weights: one PEFT folder read to the pairs A, B that the engine serves.

Knows: PEFT 0.21's file names and tensor names, and which features have no exact serving here. Does not know:
scaling rules and targets (catalog/scaling, catalog/targets), the base model (lorauter/adapter_bank checks modules
and shapes), devices, or where folders come from.

Only safetensors are read: a pickle can run code. Whatever could change the output and is not
served exactly is refused by name, so a text from the engine is always what PEFT would give.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from catalog.config_fields import PLAIN_INITS, UNSERVED
from catalog.errors import UnsupportedAdapter
from catalog.parse import CONFIG_LIMIT, Problem, parse_config
from catalog.patterns import Patience
from catalog.scaling import scaling_of
from catalog.targets import ALL_LINEAR, targeted
from catalog.tensor_names import feature_of

CONFIG_FILE = "adapter_config.json"
WEIGHTS_FILE = "adapter_model.safetensors"
PREFIX = "base_model.model."
SUFFIXES = {  # PEFT drops the adapter's name from keys as it saves them; one that kept `default` loads as it is
    **{f".lora_{side}{name}.weight": side.lower() for side in "AB" for name in ("", ".default")},
    **{f".lora_magnitude_vector{end}": "magnitude" for end in ("", ".weight", ".default.weight")},
}

# What the rules of the catalog reject from config and header is refused here too: folders need not come from a crawl.
REFUSED_OPTIONS = ("alora_invocation_tokens", "layer_replication", "lora_bias", "modules_to_save", *UNSERVED)


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
    config = read_config(folder)
    _refuse_options(config)
    try:
        tensors = load_file(folder / WEIGHTS_FILE)
    except (OSError, SafetensorError) as error:
        raise _refusal(f"has no readable {WEIGHTS_FILE} ({error})") from error
    return weights_of(config, tensors)


def weights_of(config: Mapping[str, Any], tensors: Mapping[str, torch.Tensor]) -> AdapterWeights:
    """The pairs that a config makes of tensors, which may lie on any device, `meta` included.

    Raises:
        UnsupportedAdapter: as `read_adapter`.
    """
    _refuse_options(config)
    modules = _group(tensors)
    if not modules:
        raise _refusal("holds no LoRA tensors")
    try:
        _refuse_untargeted(modules, config)
        patience = Patience()
        return AdapterWeights({name: _pair(name, parts, config, patience) for name, parts in modules.items()})
    except (TypeError, ValueError, OverflowError) as error:  # e.g. an alpha that is no number, a key that is no regex
        raise _refusal(f"has a malformed {CONFIG_FILE} ({error})") from error


def read_config(folder: Path) -> dict[str, Any]:
    """A folder's `adapter_config.json`. Raises UnsupportedAdapter: it is missing, too large, or no JSON object."""
    try:
        with (folder / CONFIG_FILE).open("rb") as file:
            config = parse_config(file.read(CONFIG_LIMIT + 1))
    except OSError as error:
        raise _refusal(f"has no readable {CONFIG_FILE} ({error})") from error
    if isinstance(config, Problem):
        raise _refusal(f"has no readable {CONFIG_FILE} ({config.evidence})")
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
    targets = config.get("target_modules")
    if isinstance(targets, str) and targets.lower() == ALL_LINEAR:  # PEFT resolves it against the base
        return
    if not targets:
        raise _refusal("names no target_modules")
    names = list(modules)
    found = targeted(config, names)
    if found is None:
        raise _refusal("has target_modules that cannot be matched")
    stray = next((name for name in names if name not in found), None)
    if stray is not None:
        raise _refusal(f"holds tensors outside its target_modules, at {stray}")


def _group(tensors: Mapping[str, torch.Tensor]) -> dict[str, dict[str, torch.Tensor]]:
    """Tensors by module, then by part ("a", "b", "magnitude")."""
    modules: dict[str, dict[str, torch.Tensor]] = {}
    for key, tensor in tensors.items():
        suffix = next((s for s in SUFFIXES if key.endswith(s)), None)
        if suffix is None or not key.startswith(PREFIX):
            raise _refusal(f"holds a tensor that is not served ({feature_of(key)}: {key})")
        name = key[len(PREFIX) : -len(suffix)]
        parts = modules.setdefault(name, {})
        if parts.setdefault(SUFFIXES[suffix], tensor) is not tensor:
            raise _refusal(f"holds two tensors for one place ({key})")
    return modules


def _pair(name: str, parts: Mapping[str, torch.Tensor], config: Mapping[str, Any], patience: Patience) -> LoraPair:
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
    return LoraPair(a, b, scaling_of(name, rank, config, patience), magnitude)


def _refusal(what: str) -> UnsupportedAdapter:
    return UnsupportedAdapter(f"The adapter {what}.", "Leave it out of the pool.")
