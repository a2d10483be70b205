"""The model card: what a repo says of itself, and the tags the Hub makes of it.

Knows: YAML front matter, adapter_config.json's two public fields, the Hub's tag spelling.
Does not know: where the bytes came from. They are hostile: sizes, depth and aliases are bounded.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import yaml  # type: ignore[import-untyped,unused-ignore]

CARD_BYTES = 64 << 10
CONFIG_BYTES = 1 << 20
_DEPTH = 12
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


class _NoAliases(yaml.SafeLoader):  # type: ignore[misc,unused-ignore]
    """A safe loader without aliases: a few hundred bytes of them expand to gigabytes of JSON."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("aliases are not read")
        return super().compose_node(parent, index)


def read_card(text: str) -> dict[str, Any]:
    """The front matter of a README, or nothing when it is missing, broken or not a mapping."""
    found = re.match(r"\ufeff?---[ \t]*\r?\n(.*?)\r?\n---[ \t]*(?:\r?\n|\Z)", text, re.DOTALL)
    if found is None:
        return {}
    try:
        card = yaml.load(found.group(1), Loader=_NoAliases)  # noqa: S506  (a SafeLoader)
    except (yaml.YAMLError, RecursionError, ValueError):
        return {}
    return _plain(card) if isinstance(card, dict) else {}


def read_json(text: str) -> dict[str, Any]:
    """A JSON object, or nothing when the text is none."""
    try:
        parsed = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return parsed if isinstance(parsed, dict) else {}


def facts_of(readme: str, adapter_config: str | None, model_config: str, names: Iterable[str]) -> Facts:
    """What the Hub would derive from a card, the root's two configs (None: no file) and the file names."""
    card, names = read_card(readme), tuple(names)
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
    return {key: _plain(model[key]) for key in ("architectures", "model_type") if key in model}


def _text(value: Any) -> str | None:
    return value[:256] if isinstance(value, str) and value else None


def _texts(value: Any) -> list[str]:
    many = value if isinstance(value, list) else [value]
    return [text for text in map(_text, many[:256]) if text]


def _plain(value: Any, depth: int = _DEPTH) -> Any:
    """The value as JSON can hold it: YAML has dates, NaN and keys of any type."""
    if depth == 0:
        return None
    if isinstance(value, dict):
        return {str(key): _plain(item, depth - 1) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item, depth - 1) for item in value]
    return value if value is None or isinstance(value, (bool, int, str)) else str(value)
