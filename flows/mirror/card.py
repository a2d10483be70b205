"""The model card: what a repo says of itself, and the tags the Hub makes of it.

Knows: adapter_config.json's two public fields, the Hub's tag spelling. Does not know: YAML
(catalog/adapters/front_matter), where the bytes came from.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from catalog.adapters.front_matter import as_json, front_matter

CARD_BYTES = 64 << 10
CONFIG_BYTES = 1 << 20
_NAME = r"[A-Za-z0-9][A-Za-z0-9_.\-]{0,95}"
REPO_ID = re.compile(rf"(?!.*\.\.){_NAME}/{_NAME}")
_MODEL_ID = re.compile(rf"(?!.*\.\.){_NAME}(/{_NAME})?")
RELATIONS = ("adapter", "finetune", "merge", "quantized")
_FORMATS = (("safetensors", ".safetensors"), ("gguf", ".gguf"), ("pytorch", "pytorch_model.bin"))


@dataclass(frozen=True, slots=True)
class Facts:
    """What the Hub tells of a repo beside its files."""

    card: dict[str, Any]
    config: dict[str, Any]
    library: str | None
    pipeline: str | None
    base_models: tuple[str, ...]
    relation: str
    tags: tuple[str, ...]


def read_json(text: str) -> dict[str, Any]:
    """A JSON object, or nothing when the text is none."""
    try:
        parsed = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return parsed if isinstance(parsed, dict) else {}


def facts_of(readme: str, adapter_config: str | None, model_config: str, names: Iterable[str]) -> Facts:
    """What the Hub would derive from a card, the root's two configs (None: no file) and the file names."""
    card, names = front_matter(readme), tuple(names)
    peft = read_json(adapter_config or "")
    library = _library(card, adapter_config is not None, model_config)
    base_models = _base_models(card, peft)
    is_adapter = adapter_config is not None or library == "peft"
    relation = card.get("base_model_relation")
    if relation not in RELATIONS:
        relation = "adapter" if is_adapter else "finetune"
    pipeline = _text(card.get("pipeline_tag"))
    tags = _tags(card, library, pipeline, base_models, relation, names)
    config = _config(peft, read_json(model_config), is_adapter=adapter_config is not None)
    return Facts(card, config, library, pipeline, base_models, relation, tags)


def _library(card: dict[str, Any], has_adapter_config: bool, model_config: str) -> str | None:
    inferred = "peft" if has_adapter_config else "transformers" if model_config else None
    return _text(card.get("library_name")) or inferred


def _base_models(card: dict[str, Any], peft: dict[str, Any]) -> tuple[str, ...]:
    """The card's base models; without any, the adapter config's, if that could be a repo id.

    The Hub reads the card alone. A repo pushed by PEFT has the same id in its card, so a folder without one
    (a training run's output, say) gets the tag it would get on the Hub; a local path stays out.
    """
    named = tuple(name for name in _texts(card.get("base_model")) if _MODEL_ID.fullmatch(name))
    if named or card.get("base_model"):
        return named
    guess = _text(peft.get("base_model_name_or_path")) or ""
    return (guess,) if REPO_ID.fullmatch(guess) else ()


def _tags(
    card: dict[str, Any],
    library: str | None,
    pipeline: str | None,
    base_models: tuple[str, ...],
    relation: str,
    names: tuple[str, ...],
) -> tuple[str, ...]:
    tags = [library or ""]
    tags += [tag for tag, ending in _FORMATS if any(name.endswith(ending) for name in names)]
    tags += _texts(card.get("tags"))
    tags += [pipeline or ""]
    tags += [f"dataset:{name}" for name in _texts(card.get("datasets"))]
    tags += _texts(card.get("language"))
    for base in base_models:
        tags += [f"base_model:{base}", f"base_model:{relation}:{base}"]
    tags += [f"license:{name}" for name in _texts(card.get("license"))]
    return tuple(dict.fromkeys(tag for tag in [*tags, "region:us"] if tag))


def _config(peft: dict[str, Any], model: dict[str, Any], *, is_adapter: bool) -> dict[str, Any]:
    if is_adapter:
        return {"peft": {key: _text(peft.get(key)) for key in ("base_model_name_or_path", "task_type")}}
    return {key: as_json(model[key]) for key in ("architectures", "model_type") if key in model}


def _text(value: Any) -> str | None:
    return value[:256] if isinstance(value, str) and value else None


def _texts(value: Any) -> list[str]:
    many = value if isinstance(value, list) else [value]
    return [text for text in map(_text, many[:256]) if text]
