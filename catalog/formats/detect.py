"""Which prompt format an adapter was trained for, from what its repo already says; no weights, no request.

Knows: what card, tokenizer files, tags, data sets and training tools say, and how far each is to be believed.
Does not know: what a chat template renders to (lorauter/formats; its result may be given here), or which format scores
best: evidence says what to try beside the task's own template, scores decide.
"""

from __future__ import annotations

import hashlib
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from importlib.resources import files
from typing import Any

from catalog.formats.card_formats import (
    TOKENIZER_DEFAULT,
    Block,
    applies_chat_template,
    axolotl_words,
    blocks,
    llama_factory_word,
    named_formats,
    shown_formats,
    unsloth_word,
)
from catalog.formats.table import format_of
from catalog.formats.tokenizer import TokenizerSays

REPO_CHAT = "repo_chat"  # the repo's own chat template, which has to be rendered
BASE_CHAT = "base_chat"  # the chat template of the base
OWN = "own"  # a template that the evidence itself holds
VERSION = "2"  # of the rules below; a change that makes other evidence of the same repo makes it another
LEAST = 0.5  # the least confidence that speaks for a format by itself
NO_ANSWER = ("SEQ_CLS", "TOKEN_CLS", "FEATURE_EXTRACTION")  # PEFT's tasks that read a text and write none
_CHAT_BASE = re.compile(r"(?:^|[-_./])(?:instruct|chat|it|sft|dpo|zephyr)(?:$|[-_./\d])", re.IGNORECASE)
_MOST_TAGS = 1_000


@dataclass(frozen=True, slots=True)
class Evidence:
    """What speaks for one prompt format.

    Args:
        format: a name of the table, or REPO_CHAT, BASE_CHAT, OWN.
        source: "training config", "card code", "card text", "card words", "tokenizer", "training tool", "data set",
            "tags" or "base".
        confidence: 0 to 1: the share of such evidence that is to be expected right, as far as it was measured.
        reason: what was seen, in words.
        template: the template of OWN, with one `{input}`.
        stops: texts that end an answer under the template of OWN, as far as they are told.
    """

    format: str
    source: str
    confidence: float
    reason: str
    template: str = ""
    stops: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RepoSays:
    """What a repo says of an adapter. Everything may be missing.

    Args:
        card: text of README.md beside the adapter, front matter and all.
        tags: the hub's tags; `dataset:org/name` among them.
        tokenizer: what the tokenizer files beside the adapter say.
        rendered: the template that the repo's chat template renders to, where somebody rendered it.
        stops: texts that end an answer under that template.
        config: the fields of adapter_config.json.
        base: id or name of the base.
        base_chat_template: the base's own chat template, to tell a copy of it from a template of one's own.
        files: names of the files beside the adapter.
    """

    card: str = ""
    tags: tuple[str, ...] = ()
    tokenizer: TokenizerSays = field(default_factory=TokenizerSays)
    rendered: str = ""
    stops: tuple[str, ...] = ()
    config: Mapping[str, Any] = field(default_factory=dict)
    base: str = ""
    base_chat_template: str = ""
    files: tuple[str, ...] = ()


def detect(says: RepoSays) -> tuple[Evidence, ...]:
    """Evidence, the surest first, one for each format; () where nothing is said, or the adapter writes no text."""
    if says.config.get("task_type") in NO_ANSWER:
        return ()
    pieces = blocks(says.card)
    tools = _tools(says, pieces)
    every = [
        *_training_configs(says, pieces),
        *_card(says, pieces),
        *_tokenizer(says, tools),
        *_tools_alone(says, tools),
        *_data_sets(says),
    ]
    ranked = sorted((_resolved(evidence, says) for evidence in every), key=lambda evidence: -evidence.confidence)
    first: dict[tuple[str, str], Evidence] = {}
    for evidence in ranked:
        first.setdefault((evidence.format, evidence.template), evidence)
    return tuple(first.values())


def trained_for(evidence: Iterable[Evidence], least: float = LEAST) -> Evidence | None:
    """The surest evidence if it is sure enough; None: nothing is said, the task's own template stays."""
    best = next(iter(evidence), None)
    return best if best and best.confidence >= least else None


@lru_cache(maxsize=1)
def field_words() -> Mapping[str, Mapping[str, str]]:
    """What the field's names for templates, types and data sets mean: evidence.toml."""
    return tomllib.loads(_table("evidence.toml"))


@lru_cache(maxsize=1)
def detector_version() -> str:
    """What tells two detectors apart: the version of the rules, and a hash of their tables."""
    tables = _table("evidence.toml") + _table("formats.toml")
    return f"{VERSION}-{hashlib.sha256(tables.encode()).hexdigest()[:12]}"


def is_copy(text: str, base_chat_template: str) -> bool:
    """Whether a repo's chat template is that of its base."""
    return bool(text.strip()) and text.strip() == base_chat_template.strip()


def _table(name: str) -> str:
    return files("catalog.formats").joinpath(name).read_text("utf-8")


def _resolved(evidence: Evidence, says: RepoSays) -> Evidence:
    """Evidence for the repo's own chat template as evidence for the format that it is, where that is known."""
    if evidence.format != REPO_CHAT:
        return evidence
    if is_copy(says.tokenizer.chat_template, says.base_chat_template):
        return replace(evidence, format=BASE_CHAT)
    if not says.rendered:
        return evidence
    if known := format_of(says.rendered):
        return replace(evidence, format=known.name)
    return replace(evidence, format=OWN, template=says.rendered, stops=says.stops)


def _training_configs(says: RepoSays, pieces: list[Block]) -> Iterator[Evidence]:
    """What the config of a training tool says, that a card holds."""
    types, chat = axolotl_words(pieces)
    if types or chat:
        yield from _axolotl(says, types, chat)
    for tool, word in (("llama_factory", llama_factory_word(pieces)), ("unsloth", unsloth_word(pieces))):
        if format_ := field_words()[tool].get(word):
            yield Evidence(format_, "training config", 0.95, f"{tool} template {word}")


def _axolotl(says: RepoSays, types: tuple[str, ...], chat: str) -> Iterator[Evidence]:
    sure = 0.95 if len(types) <= 1 else 0.75  # data sets of several formats: the first is taken
    for type_ in types or ("chat_template",):
        if type_.startswith(("chat_template", "sharegpt", "orpo", "chat")):
            named = field_words()["axolotl_chat_templates"].get(chat)
            own = _chat_of(says) if chat in ("", TOKENIZER_DEFAULT) else None
            if (format_ := named or own) and (named or type_ != "sharegpt"):
                yield Evidence(format_, "training config", sure, f"axolotl type {type_}, chat_template {chat or '-'}")
            return
        if format_ := field_words()["axolotl_types"].get(type_):
            yield Evidence(format_, "training config", sure, f"axolotl type {type_}")
            return


def _card(says: RepoSays, pieces: list[Block]) -> Iterator[Evidence]:
    """What a card shows and names."""
    for shown in shown_formats(pieces):
        source, sure = ("card code", 0.9) if shown.in_code else ("card text", 0.8)
        if not shown.whole:
            sure -= 0.2
        if shown.format:
            yield Evidence(shown.format, source, sure, f"it shows {'the text' if shown.whole else 'marks'} of it")
        else:
            yield Evidence(OWN, source, 0.8, "it spells out a template of its own", shown.template)
    for format_ in named_formats(pieces, field_words()["words"]):
        yield Evidence(format_, "card words", 0.6, "it names it as its prompt or template")
    if applies_chat_template(pieces):
        yield Evidence(_chat_of(says), "card code", 0.65, "its code applies the tokenizer's chat template")


def _tokenizer(says: RepoSays, tools: frozenset[str]) -> Iterator[Evidence]:
    """A chat template beside an adapter: often only a copy of the base's, so it is no proof that anybody used it."""
    text = says.tokenizer.chat_template.strip()
    if not text:
        return
    if is_copy(text, says.base_chat_template):
        yield Evidence(BASE_CHAT, "tokenizer", 0.5, "its chat template is a copy of the base's")
        return
    if says.base_chat_template or tools & {"llama-factory", "autotrain", "axolotl"}:
        sure = 0.75
    else:  # tokenizers of bases that are no chat models carry templates too
        sure = 0.55 if _CHAT_BASE.search(says.base[:300]) else 0.45
    reason = "its chat template is not the base's" if says.base_chat_template else "it has a chat template"
    yield Evidence(REPO_CHAT, "tokenizer", sure, reason)


def _tools(says: RepoSays, pieces: list[Block]) -> frozenset[str]:
    """The training tools whose traces are there."""
    tags = {tag.lower() for tag in says.tags[:_MOST_TAGS]}
    prose = "\n".join(piece.text for piece in pieces if not piece.code)
    traces = {
        "axolotl": "axolotl" in tags or "axolotl config" in prose,
        "llama-factory": "llama-factory" in tags,
        "unsloth": "unsloth" in tags or _unsloth_class(says.config),
        "trl": "trl" in tags or "sft" in tags,
        "autotrain": "autotrain" in tags or "trained using AutoTrain" in prose,
        "torchtune": "torchtune" in tags or "finetuned using torchtune" in prose,
    }
    return frozenset(tool for tool, there in traces.items() if there)


def _tools_alone(says: RepoSays, tools: frozenset[str]) -> Iterator[Evidence]:
    """A tool that trains chat models in their own format, on a chat model: likely, not said."""
    if not _CHAT_BASE.search(says.base[:300]):
        return
    for tool, sure in (("llama-factory", 0.5), ("autotrain", 0.5), ("trl", 0.5), ("unsloth", 0.4), ("torchtune", 0.4)):
        if tool in tools:
            yield Evidence(BASE_CHAT, "training tool", sure, f"{tool} on a chat model")
            return
    yield Evidence(BASE_CHAT, "base", 0.3, "its base is a chat model")


def _data_sets(says: RepoSays) -> Iterator[Evidence]:
    known, tags = field_words()["datasets"], [tag.lower() for tag in says.tags[:_MOST_TAGS]]
    for tag in tags:
        name = tag.removeprefix("dataset:")
        if name != tag and name in known:
            yield Evidence(known[name], "data set", 0.5, f"trained on {name[:80]}")
    if "alpaca" in tags:
        yield Evidence("alpaca", "tags", 0.4, "tagged alpaca")


def _chat_of(says: RepoSays) -> str:
    """The chat template that a tokenizer of this repo would apply."""
    return REPO_CHAT if says.tokenizer.chat_template else BASE_CHAT


def _unsloth_class(config: Mapping[str, Any]) -> bool:
    mapping = config.get("auto_mapping")
    return isinstance(mapping, Mapping) and mapping.get("unsloth_fixed") is True
