"""A base's modules from its config alone: the model is built without weights, and its modules are listed.

Knows: transformers and torch's meta device, where a tensor has a shape and no bytes. Does not know: where the
config came from; it may be hostile, so its numbers are bounded, no code of the repo is run, nothing is downloaded.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import nn
from transformers import AutoModelForCausalLM, PreTrainedModel
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
    MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES,
    MODEL_FOR_MULTIMODAL_LM_MAPPING_NAMES,
)
from transformers.pytorch_utils import Conv1D

from catalog.bases.base import Base
from catalog.bases.kind import is_causal_class
from catalog.errors import HubError

_MULTIMODAL = (MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES, MODEL_FOR_MULTIMODAL_LM_MAPPING_NAMES)
LAYER_LIMIT = 1024  # of whatever is counted and becomes modules: layers, experts
SIZE_LIMIT = 1 << 24  # of any other number: widths, rows, positions
MODULE_LIMIT = 100_000  # layers × experts
# Numbers that are no sizes.
_FREE = ("_token_id", "_token_index", "scale", "theta", "factor", "_value", "_freq", "_base", "_norm_eps", "epsilon")
_COUNTED = re.compile(r"layer|block|expert|depth|stage|n_group", re.IGNORECASE)
# Fields that make transformers fetch or run something, or that say nothing about modules.
_DROPPED = re.compile(
    r"auto_map|quantization_config|(torch_)?dtype|_?(attn|experts)_implementation.*|_name_or_path|.*backbone.*|"
    r"trust_remote_code|custom_pipelines|transformers_version|id2label|label2id"
)
# transformers can turn these encoders and halves of translators into causal LMs that nobody trained.
_NOT_CAUSAL = """
    bart bert bert-generation big_bird blenderbot blenderbot-small camembert data2vec-text electra ernie marian mbart
    megatron-bert mobilebert mvp pegasus plbart prophetnet rembert roberta roberta-prelayernorm roc_bert roformer
    speech_to_text_2 t5gemma trocr whisper xlm-roberta xlm-roberta-xl xmod
"""


class UnknownArchitecture(HubError):
    """transformers knows no model of this type; its checkpoint's header may still tell the modules."""


def base_from_config(base_id: str, sha: str, config: Mapping[str, Any]) -> Base:
    """The base with its Linear, Conv1D and Embedding modules, as transformers builds it from a raw config.json.

    Raises:
        UnknownArchitecture: transformers does not know the model type.
        HubError: the model is no causal language model, or its config is beyond bounds or broken.
    """
    _check_kind(base_id, config)
    _check_bounds(base_id, config)
    model = _build(base_id, config)
    modules: dict[str, tuple[int, int]] = {}
    embeddings: dict[str, tuple[int, int]] = {}
    for name, module in model.named_modules():
        if isinstance(module, nn.Embedding):
            embeddings[name] = (module.num_embeddings, module.embedding_dim)
        elif isinstance(module, nn.Linear):
            modules[name] = (module.in_features, module.out_features)
        elif isinstance(module, Conv1D):  # the weight is (d_in, d_out), the other way round than a Linear's
            modules[name] = (module.weight.shape[0], module.weight.shape[1])
    return Base(base_id, sha, modules, embeddings, "config")


def _check_kind(base_id: str, config: Mapping[str, Any]) -> None:
    given, classes = config.get("model_type"), config.get("architectures")
    kind = given if isinstance(given, str) else ""
    if isinstance(classes, list) and classes:
        causal = any(isinstance(name, str) and _is_causal(name, kind) for name in classes)
    else:
        causal = kind in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES if kind in CONFIG_MAPPING else True
    if not causal or kind in _NOT_CAUSAL.split():
        told = classes[0] if isinstance(classes, list) and classes else kind
        raise HubError(f"{base_id} is no causal language model ({str(told)[:80]}).", "Choose a base that is one.")
    if kind not in CONFIG_MAPPING or kind not in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        raise UnknownArchitecture(f"{base_id}: transformers cannot build a model of type {kind[:80]!r}.")


def _is_causal(name: str, kind: str) -> bool:
    """Whether a checkpoint of this class holds a causal LM.

    transformers builds the causal LM inside a model that also takes pictures or sound, where its mapping has the type.
    """
    if is_causal_class(name):
        return True
    others = {mapping.get(kind) for mapping in _MULTIMODAL}
    return kind in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES and name in (MODEL_FOR_CAUSAL_LM_MAPPING_NAMES[kind], *others)


def _check_bounds(base_id: str, config: Mapping[str, Any]) -> None:
    layers, experts = 1, 1
    for name, number in _numbers(config):
        limit = LAYER_LIMIT if _COUNTED.search(name) and "_size" not in name else SIZE_LIMIT
        if abs(number) > limit:
            raise HubError(f"{base_id}: its config has {name[:80]} = {number:.4g}, the limit is {limit}.")
        layers = max(layers, int(number)) if re.search("layer", name) else layers
        experts = max(experts, int(number)) if re.search("expert", name) and "_size" not in name else experts
    if layers * experts > MODULE_LIMIT:
        raise HubError(f"{base_id}: its config has {layers} layers of {experts} experts.")


def _numbers(value: object, name: str = "") -> Iterator[tuple[str, int | float]]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _numbers(item, str(key))
    elif isinstance(value, list):
        for item in value:
            yield from _numbers(item, name)
    elif isinstance(value, int | float) and not isinstance(value, bool) and not name.endswith(_FREE):
        yield name, value


def _build(base_id: str, config: Mapping[str, Any]) -> PreTrainedModel:
    fields = _stripped(config)
    kind = fields.pop("model_type")
    try:
        with torch.device("meta"):
            built = CONFIG_MAPPING[kind].from_dict(fields)
            return AutoModelForCausalLM.from_config(built, attn_implementation="eager", dtype=torch.float32)
    except Exception as error:  # whatever a broken config brings down in there
        told = f"{type(error).__name__}: {str(error)[:200]}"
        raise HubError(f"{base_id}: transformers builds no model from its config ({told}).") from error


def _stripped(value: Any) -> Any:
    """The config without what fetches, runs, or says nothing about modules."""
    if isinstance(value, Mapping):
        return {key: _stripped(item) for key, item in value.items() if not _DROPPED.fullmatch(key)}
    return [_stripped(item) for item in value] if isinstance(value, list) else value
