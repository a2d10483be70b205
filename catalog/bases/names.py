"""Which base an adapter is made for: from its config, its card, or its paths; never from its shapes.

Knows: well-known bases and their copies (known_bases.toml), how quantised and re-sharded copies are called,
what a local path tells. Does not know: what a base holds, whether it is the one a run is about (catalog/rules).

Names are compared without case; an id is returned in the spelling of the table or of the run where known.
A fine-tune is never taken for its base. A base, its chat model and whatever was merged into it have the same shapes, so
shapes may speak against a name (catalog/rules/base), and stand in for none.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files

from catalog.adapters.facts import AdapterFacts
from catalog.adapters.safe_names import is_repo_id
from catalog.bases.base import Base

# Orgs whose repos, named like a known base, hold its weights; the last two are ModelScope's.
COPIERS = ("unsloth", "nousresearch", "llm-research", "ai-modelscope")
MOST_NAMES = 8  # names a crawl asks the hub for
_BITS = r"(?:bnb|unsloth|int|nf|fp|w|q|hqq|mlx|quantized)?[-_]?(?:4|8)[-_]?bits?"
_QUANTISED = re.compile(
    rf"[-_.](?:unsloth[-_]bnb[-_]4bit|{_BITS}|int[48]|nf4|fp[48]|awq|gptq|exl2|hqq|bnb|gguf|w[48]a(?:4|8|16)"
    r"|fp8[-_](?:dynamic|block)|(?:gptq|awq)[-_](?:int[48]|[48]bits?))$",
    re.IGNORECASE,
)
_RESHARDED = re.compile(r"(?:[-_](?:sharded|bf16|fp16|\d+gb))*[-_]sharded(?:[-_](?:bf16|fp16|\d+gb))*$", re.IGNORECASE)
_LOCAL = ("models", "model", "base_models", "checkpoints", "checkpoint", "ckpt", "output", "outputs", "weights", "data")
_LONGEST = 1024  # characters of a path that are looked at
_WORDS = re.compile(r"[a-z]+|\d+")
_KAGGLE = re.compile(  # where Kaggle puts a model: its name, the framework, which of its variations, a version
    r"(?:^|/)kaggle(?:/input|hub/models)/(?:[^/]+/)*?(?P<model>[^/]+)/(?:transformers|pytorch)/(?P<variation>[^/]+)/\d+$",
    re.IGNORECASE,
)
_CACHE = re.compile(r"(?:^|/)models--([\w.\-]+?)--([\w.\-]+)(?:/|$)")


@dataclass(frozen=True, slots=True)
class BaseMatch:
    """The base an adapter is made for.

    Args:
        base: its id, None if nothing tells.
        source: what told: "config", "card", "path", or "".
        named: the name as it was given.
        twin: whether that names a quantised copy of the base.
    """

    base: str | None
    source: str
    named: str
    twin: bool


def match_base(facts: AdapterFacts, bases: Sequence[Base] = (), aliases: Mapping[str, str] = {}) -> BaseMatch:
    """The base that the config names; else the card.

    Args:
        bases: those of the run.
        aliases: a user's own, other name → id, compared without case.
    """
    names = _Names(tuple(b.id for b in bases), aliases)
    named = (facts.config or {}).get("base_model_name_or_path")
    if isinstance(named, str) and (id_ := names.find(named)):
        return BaseMatch(id_, "path" if is_path(named) else "config", named, is_twin(named))
    carded = [(name, id_) for name in facts.card_bases if (id_ := names.find(name))]
    ours = [(name, id_) for name, id_ in carded if id_ in names.ours]
    if carded:
        name, id_ = (ours or carded)[0]
        return BaseMatch(id_, "card", name, is_twin(name))
    return BaseMatch(None, "", named if isinstance(named, str) else "", twin=False)


def canonical(name: str, aliases: Mapping[str, str] = {}) -> str:
    """The id of the base that a name stands for: through renames, copies and quantised twins; else the name."""
    return _Names((), aliases).find(name) or name


def listed_names(base: str, aliases: Mapping[str, str] = {}) -> tuple[str, ...]:
    """The names under which a hub may list adapters of a base: itself, its copies, its quantised twins.

    A hub compares tags letter by letter, so both spellings that unsloth uses are asked for.
    """
    id_ = canonical(base, aliases)
    own = [other for other, target in aliases.items() if canonical(target, aliases).lower() == id_.lower()]
    copies = table().get(id_, ())
    unsloth = next((c for c in copies if c.startswith("unsloth/")), f"unsloth/{base.rpartition('/')[2]}")
    endings = ("-bnb-4bit", "-unsloth-bnb-4bit", "")
    twins = [spelling + ending for ending in endings for spelling in (unsloth, unsloth.lower())]
    others = [copy for copy in copies if copy != unsloth][: MOST_NAMES - 5]
    return tuple(dict.fromkeys([base, id_, *own, *others, *twins]))[:MOST_NAMES]


def is_twin(name: str) -> bool:
    """Whether a name says that the weights are quantised."""
    return bool(_QUANTISED.search(name.rstrip("/")))


@lru_cache(maxsize=1)
def table() -> Mapping[str, tuple[str, ...]]:
    """The well-known bases: id → other ids of the same weights."""
    text = files("catalog.bases").joinpath("known_bases.toml").read_text("utf-8")
    return {id_: tuple(copies) for id_, copies in tomllib.loads(text).items()}


@lru_cache(maxsize=1)
def _known_ids() -> Mapping[str, str]:
    """Every id and copy of the table in lower case → id."""
    return {name.lower(): id_ for id_, copies in table().items() for name in (id_, *copies)}


@lru_cache(maxsize=1)
def _known_parts() -> Mapping[str, str]:
    """The part behind the slash of every id and copy of the table, in lower case → id, where it is only one's."""
    owners: dict[str, set[str]] = {}
    for name, id_ in _known_ids().items():
        owners.setdefault(name.rpartition("/")[2], set()).add(id_)
    return {part: next(iter(ids)) for part, ids in owners.items() if len(ids) == 1}


@lru_cache(maxsize=1)
def _known_spellings() -> Mapping[tuple[str, ...], str]:
    """The same by the words and numbers of the part, whatever stands between them."""
    owners: dict[tuple[str, ...], set[str]] = {}
    for name, id_ in _known_ids().items():
        owners.setdefault(_spelling(name.rpartition("/")[2]), set()).add(id_)
    return {words: next(iter(ids)) for words, ids in owners.items() if len(ids) == 1}


def _spelling(name: str) -> tuple[str, ...]:
    """Words and numbers of a name: `gemma3-270m` and `Gemma_3.270M` are spelt alike, `llama-32-1b` and `3.2-1b` not."""
    return tuple(_WORDS.findall(name.lower()))


class _Names:
    """Names as one run reads them: its own bases and its user's aliases before the table."""

    def __init__(self, ours: Iterable[str], aliases: Mapping[str, str]) -> None:
        self.aliases = {name.lower(): id_ for name, id_ in aliases.items()}
        self.ours = tuple(ours)
        self._parts: dict[str, str] = {}
        self._spelt = {(self._looked_up(id_) or id_).lower(): id_ for id_ in self.ours}
        self._parts = {id_.rpartition("/")[2].lower(): id_ for id_ in self.ours}

    def find(self, name: str) -> str | None:
        """The id that a name or a path stands for, or None where it tells nothing."""
        if alias := self.aliases.get(name.strip().lower()):
            return self._spelt.get(alias.lower(), alias)
        for candidate in _candidates(name):
            if id_ := self._looked_up(candidate) or self._spelt_alike(candidate):
                return self._spelt.get(id_.lower(), id_)
        return None

    def _spelt_alike(self, name: str) -> str | None:
        """The one base that a name on a disk spells with other signs between its words: ModelScope's ___ for a dot."""
        if "/" in name:
            return None
        own = {_spelling(part): id_ for part, id_ in self._parts.items()}
        spellings = (_spelling(plain) for plain in _plainer(name))
        ids = (own.get(words) or _known_spellings().get(words) for words in spellings)
        return next(filter(None, ids), None)

    def _looked_up(self, name: str) -> str | None:
        for plain in _plainer(name):
            if id_ := self.aliases.get(plain.lower()) or _known_ids().get(plain.lower()):
                return id_
            org, _, part = plain.lower().rpartition("/")
            if plain != name or not org or org in COPIERS:
                id_ = self._parts.get(part) or _known_parts().get(part)
                if id_:
                    return id_
        unquantised = _QUANTISED.sub("", name)  # a re-sharded copy of an unknown base keeps its own name
        return unquantised if is_repo_id(unquantised) else None


def is_path(name: str) -> bool:
    """Whether a name is one of a local disk: no `org/name`, and no name from before ids had owners."""
    if "/" not in name and name.lower() in _known_ids():
        return False
    return not is_repo_id(name) or name.lower().partition("/")[0] in _LOCAL


def _candidates(name: str) -> Iterator[str]:
    """What a name may stand for, the surest first: itself, or what the end of a path tells."""
    name = name.strip().replace("\\", "/").rstrip("/")[:_LONGEST]
    if not is_path(name):
        yield name
        return
    if cached := _CACHE.search(name):
        yield f"{cached[1]}/{cached[2]}"
    if kaggle := _KAGGLE.search(name):
        for variation in (kaggle["variation"], kaggle["variation"].lower().removesuffix("-hf")):
            yield from (variation, f"{kaggle['model']}-{variation}")
        return
    *_, org, last = ["", *name.split("/")]
    if any(plain.lower() in _known_ids() for plain in _plainer(f"{org}/{last}")):
        yield f"{org}/{last}"
    yield last


def _plainer(name: str) -> Iterator[str]:
    """The name, and what it is without the endings of quantised and re-sharded copies."""
    yield name
    for _ in range(3):
        shorter = _RESHARDED.sub("", _QUANTISED.sub("", name))
        if shorter == name or not shorter.rpartition("/")[2]:
            return
        name = shorter
        yield name
