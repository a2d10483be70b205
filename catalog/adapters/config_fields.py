"""Fields of adapter_config.json: which PEFT 0.21 knows, which are served exactly, which are malformed.

Knows: names, types and defaults of LoraConfig's fields, what each initialisation does when PEFT loads an adapter.
Does not know: the weights, the base, the verdict.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any

# peft.LoraConfig's fields; a test holds them against the installed PEFT.
KNOWN = frozenset(
    (
        "alora_invocation_tokens",
        "alpha_pattern",
        "arrow_config",
        "auto_mapping",
        "base_model_name_or_path",
        "bias",
        "corda_config",
        "ensure_weight_tying",
        "eva_config",
        "exclude_modules",
        "fan_in_fan_out",
        "inference_mode",
        "init_lora_weights",
        "kasa_config",
        "layer_replication",
        "layers_pattern",
        "layers_to_transform",
        "loftq_config",
        "lora_alpha",
        "lora_bias",
        "lora_dropout",
        "lora_ga_config",
        "megatron_config",
        "megatron_core",
        "modules_to_save",
        "monteclora_config",
        "peft_type",
        "peft_version",
        "qalora_group_size",
        "r",
        "rank_pattern",
        "revision",
        "runtime_config",
        "target_modules",
        "target_parameters",
        "task_type",
        "trainable_token_indices",
        "use_bdlora",
        "use_dora",
        "use_qalora",
        "use_rslora",
        "velora_config",
    )
)
# Fields of older PEFT releases and of training tools that never change what an adapter computes.
HARMLESS = frozenset(
    ("merge_weights", "unsloth_fixed", "unsloth_version", "transformers_version", "lora_plus_lr_ratio")
)
# Options that change the served function in ways the engine does not compute.
UNSERVED = (
    "arrow_config",
    "ensure_weight_tying",
    "kasa_config",
    "megatron_config",
    "monteclora_config",
    "target_parameters",
    "trainable_token_indices",
    "use_bdlora",
    "use_qalora",
    "velora_config",
)
# Of these, every value but null is on: from an empty map PEFT makes an option of defaults, from an empty list rows of
# no token.
_ON_UNLESS_NULL = (
    "arrow_config",
    "kasa_config",
    "monteclora_config",
    "trainable_token_indices",
    "use_bdlora",
    "velora_config",
)
_LARGEST = 1e38  # of an alpha: float32 ends a little above
REVISIONS = ("", "main", "unsloth")  # of a base that name no revision: unsloth notes its own name


class Init(Enum):
    """What PEFT does to the base as it loads an adapter of an `init_lora_weights`."""

    PLAIN = "nothing"
    CHANGED = "its weights are changed"
    UNKNOWN = "PEFT fails"


# A config with none of LoraConfig's own fields, but with some of these, belongs to another tool.
FOREIGN = {
    "lora_parameters": "MLX",
    "fine_tune_type": "MLX",
    "adapter_path": "MLX",
    "lora_layers": "MLX",
    "config_id": "AdapterHub",
    "default_version": "AdapterHub",
    "lora_rank": "another tool",
    "rank": "another tool",
}


def unknown_fields(config: Mapping[str, Any]) -> list[str]:
    """Fields that PEFT 0.21 does not know and that are set: it would pass over what their author meant to act."""
    return sorted(name for name in config if name not in KNOWN | HARMLESS and not is_off(config[name]))


def is_off(value: Any) -> bool:
    """Whether a value leaves an option off."""
    return value is None or value is False or value in ("", 0) or value in ([], {})


def unserved_options(config: Mapping[str, Any]) -> list[str]:
    """Options in use that the engine does not compute."""
    return [name for name in UNSERVED if _is_on(name, config.get(name))]


def hybrid_fields(config: Mapping[str, Any]) -> dict[str, str]:
    """Fields of another tool that are set in a PEFT config, and the tool's name."""
    tools = {name: tool for name, tool in FOREIGN.items() if name in config and not is_off(config[name])}
    return {name: tool for name, tool in tools.items() if tool != "another tool"}


def init_of(config: Mapping[str, Any]) -> Init:
    """What the config's `init_lora_weights` does on load (peft.tuners.lora.layer.LoraLayer.update_layer).

    CorDA's needs what only its own preparation has, so that PEFT fails to load it; it counts as changed, as PiSSA,
    OLoRA and LoftQ do. LoRA-GA changed the base as training began; on load PEFT 0.21 leaves the base alone.
    """
    value = config.get("init_lora_weights", True)
    if not value or value is True:
        return Init.PLAIN
    if not isinstance(value, str):
        return Init.UNKNOWN
    if value in ("eva", "lora_ga", "orthogonal") or value.lower() in ("gaussian", "mica"):
        return Init.PLAIN
    changed = re.fullmatch(r"pissa(_niter_\d{1,9})?|corda.*|loftq", value) or value.lower() == "olora"
    return Init.CHANGED if changed else Init.UNKNOWN


def malformed_field(config: Mapping[str, Any]) -> str | None:
    """The first field that PEFT could make nothing of, with its value; or None."""
    for name, is_sound in _SOUND.items():
        if name in config and not is_sound(config[name]):
            return f"{name} is {_shown(config[name])}" + _KNOWS.get(name, "")
    if init_of(config) is Init.UNKNOWN:
        return f"init_lora_weights is {_shown(config['init_lora_weights'])}, which PEFT 0.21 does not know"
    if config.get("init_lora_weights") == "mica" and config.get("use_dora"):
        return "init_lora_weights is 'mica' beside use_dora, which PEFT does not combine"
    if isinstance(config.get("target_modules"), str):
        clash = next((n for n in ("layers_to_transform", "layers_pattern") if config.get(n) is not None), None)
        return clash and f"{clash} beside a target_modules that is a text"
    if config.get("layers_pattern") and config.get("layers_to_transform") is None:
        return "layers_pattern without layers_to_transform"
    return None


def _is_on(name: str, value: Any) -> bool:
    return value is not None if name in _ON_UNLESS_NULL else not is_off(value)


def _shown(value: object) -> str:
    return repr(value)[:120]


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _LARGEST


def _is_rank(value: object) -> bool:
    return type(value) is int and 0 < value < 1 << 31


def _is_text(value: object) -> bool:
    return value is None or isinstance(value, str)


def _is_texts(value: object) -> bool:
    return value is None or isinstance(value, str) or _is_list_of(str)(value)


def _is_list_of(kind: type) -> Callable[[object], bool]:
    return lambda value: value is None or (isinstance(value, list) and all(type(v) is kind for v in value))


def _is_map_of(is_sound: Callable[[object], bool]) -> Callable[[object], bool]:
    return lambda value: isinstance(value, Mapping) and all(map(is_sound, value.values()))


def _is_switch(value: object) -> bool:
    return value is None or isinstance(value, bool)


def _is_layers(value: object) -> bool:
    return (type(value) is int) or _is_list_of(int)(value)


def _is_share(value: object) -> bool:
    return _is_number(value) and float(value) <= 1  # type: ignore[arg-type]  # a number by then


def _is_map(value: object) -> bool:
    return value is None or isinstance(value, Mapping)


def _is_eva(value: object) -> bool:
    """Whether PEFT takes it, though it counts only while a new adapter is made."""
    if not isinstance(value, Mapping):
        return value is None
    rho, tau = value.get("rho", 2.0), value.get("tau", 0.99)
    return _is_number(rho) and _is_number(tau) and rho >= 1 and 0 <= tau <= 1


_KNOWS = {"bias": ", and PEFT knows none, all and lora_only"}
_SOUND: dict[str, Callable[[object], bool]] = {
    "r": _is_rank,
    "lora_alpha": _is_number,
    "rank_pattern": _is_map_of(_is_rank),
    "alpha_pattern": _is_map_of(_is_number),
    "target_modules": _is_texts,
    "exclude_modules": _is_texts,
    "modules_to_save": _is_texts,
    "layers_to_transform": _is_layers,
    "layers_pattern": _is_texts,
    "use_rslora": _is_switch,
    "use_dora": _is_switch,
    "fan_in_fan_out": _is_switch,
    "base_model_name_or_path": _is_text,
    "task_type": _is_text,
    "revision": _is_text,
    "bias": lambda value: value in ("none", "all", "lora_only"),
    "lora_dropout": _is_share,
    "corda_config": _is_map,
    "eva_config": _is_eva,
    "lora_ga_config": _is_map,
}
