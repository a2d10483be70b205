"""What is known of an adapter before any weight is downloaded.

Knows: how a listing entry and two small reads (config, header) become `AdapterFacts`.
Does not know: whether that is good enough (catalog/rules). Raw bytes are kept as text in the ledger, so a
better parser or a changed rule needs no request.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from posixpath import basename, dirname
from typing import Any, TypeVar

from catalog.adapters.adapter import AdapterId, LoraShape
from catalog.adapters.parse import Problem, Tensor, lora_shapes, parse_config, parse_header

CONFIG_NAME = "adapter_config.json"
WEIGHTS_NAME = "adapter_model.safetensors"
PICKLE_NAME = "adapter_model.bin"
MOST_ADAPTERS = 1_000  # of one repo that are looked at: each costs requests
_RELATIONS = ("adapter:", "finetune:", "merge:", "quantized:")  # of a repo to its base, as the hub tags it
_T = TypeVar("_T")


@dataclass(frozen=True)
class RepoListing:
    """One repo as the hub's listing shows it, without a request of its own.

    Args:
        repo: `org/name`.
        sha: commit of the listed revision.
        files: all file names in the repo.
        tags: the hub's tags.
        last_modified: ISO 8601 text as the hub gave it.
        downloads: as the hub counts them.
        likes: as the hub counts them.
        gated: whether its files need an agreement.
        private: whether only some may see it.
        created: ISO 8601 text as the hub gave it.
    """

    repo: str
    sha: str
    files: tuple[str, ...]
    tags: tuple[str, ...] = ()
    last_modified: str = ""
    downloads: int = 0
    likes: int = 0
    gated: bool = False
    private: bool = False
    created: str = ""

    def adapters(self) -> list[AdapterId]:
        """The adapters in the repo: one for each folder with an adapter_config.json, at most MOST_ADAPTERS.

        Where no folder has one, the root counts as an adapter.
        """
        folders = sorted(folder for folder, names in self._folders.items() if CONFIG_NAME in names)
        return [AdapterId(self.repo, folder, self.sha) for folder in folders[:MOST_ADAPTERS] or [""]]

    def files_in(self, folder: str) -> tuple[str, ...]:
        """Names of the files directly in a folder of the repo, sorted."""
        return tuple(sorted(self._folders.get(folder, ())))

    @cached_property
    def _folders(self) -> dict[str, list[str]]:
        """Names of files by folder."""
        folders: dict[str, list[str]] = {}
        for file in self.files:
            folders.setdefault(dirname(file), []).append(basename(file))
        return folders

    @property
    def licence(self) -> str | None:
        """The licence tag of the card, or None."""
        return next((t.removeprefix("license:") for t in self.tags if t.startswith("license:")), None)

    @property
    def base_models(self) -> tuple[str, ...]:
        """The bases that the card names, in its order: `base_model:X`, `base_model:adapter:X` and such."""
        named = (t.removeprefix("base_model:") for t in self.tags if t.startswith("base_model:"))
        bare = (n.partition(":")[2] if n.startswith(_RELATIONS) else n for n in named)
        return tuple(dict.fromkeys(name for name in bare if name))


@dataclass(frozen=True, slots=True)
class RawAdapter:
    """What the two reads of one adapter brought: text of config and header, or the problem met.

    Args:
        config: text of adapter_config.json.
        header: JSON text of the weights' safetensors header.
        size: bytes of the weights file.
        sha256: of the weights file, as the hub's headers say.
        problems: problems met while reading, in order.
    """

    config: str | None = None
    header: str | None = None
    size: int | None = None
    sha256: str | None = None
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True)
class AdapterFacts:
    """Everything the rules look at.

    Args:
        id: of the adapter.
        files: names in its folder.
        licence: as the listing says.
        gated: whether the repo is gated or private.
        downloads: as the listing says.
        config: adapter_config.json, None where it could not be read.
        size: bytes of the weights file.
        sha256: of the weights file.
        lora: the LoRA pairs of the header.
        other_tensors: the names of all its other tensors.
        header_read: whether the header could be read.
        problems: met while reading.
        card_bases: bases that the card names, as the listing says.
        tensors: the whole header.
    """

    id: AdapterId
    files: tuple[str, ...]
    licence: str | None
    gated: bool
    downloads: int
    config: Mapping[str, Any] | None
    size: int | None
    sha256: str | None
    lora: tuple[LoraShape, ...]
    other_tensors: tuple[str, ...]
    header_read: bool
    problems: tuple[Problem, ...] = field(default=())
    card_bases: tuple[str, ...] = ()
    tensors: tuple[Tensor, ...] = ()

    @property
    def max_rank(self) -> int:
        """The largest rank of any module in the weights' header; 0 where there is none."""
        return max((shape.rank for shape in self.lora), default=0)

    @property
    def dora(self) -> bool:
        """Whether the weights carry DoRA magnitude vectors."""
        return any("lora_magnitude_vector" in name for name in self.other_tensors)


def gather_facts(listing: RepoListing, adapter: AdapterId, raw: RawAdapter) -> AdapterFacts:
    """Parse the raw text and put it beside what the listing says."""
    problems = list(raw.problems)
    config = _parsed(parse_config(raw.config.encode()) if raw.config is not None else None, problems)
    tensors = _parsed(parse_header(raw.header.encode(), raw.size) if raw.header is not None else None, problems)
    lora, other = lora_shapes(tensors) if tensors is not None else ((), ())
    return AdapterFacts(
        id=adapter,
        files=listing.files_in(adapter.path),
        licence=listing.licence,
        gated=listing.gated or listing.private,
        downloads=listing.downloads,
        config=config,
        size=raw.size,
        sha256=raw.sha256,
        lora=lora,
        other_tensors=other,
        header_read=tensors is not None,
        problems=tuple(problems),
        card_bases=listing.base_models,
        tensors=tensors or (),
    )


def _parsed(value: _T | Problem | None, problems: list[Problem]) -> _T | None:
    """`value`, or None with its problem noted."""
    if isinstance(value, Problem):
        problems.append(value)
        return None
    return value


def listing_from_json(item: Mapping[str, Any]) -> RepoListing:
    """A listing entry from the hub's JSON; fields of the wrong type count as absent."""
    return RepoListing(
        repo=_text(item.get("id")),
        sha=_text(item.get("sha")),
        files=tuple(_text(s.get("rfilename")) for s in _dicts(item.get("siblings"))),
        tags=tuple(_text(t) for t in _list(item.get("tags"))),
        last_modified=_text(item.get("lastModified")),
        downloads=_count(item.get("downloads")),
        likes=_count(item.get("likes")),
        gated=bool(item.get("gated")),
        private=bool(item.get("private")),
        created=_text(item.get("createdAt")),
    )


def _text(value: object) -> str:
    """The text, lone surrogates as `?` (which no admitted name may hold); "" for anything but a string."""
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else ""


def _count(value: object) -> int:
    return value if type(value) is int and 0 <= value < 1 << 62 else 0


def _list(value: object) -> Sequence[Any]:
    return value if isinstance(value, list) else []


def _dicts(value: object) -> Sequence[Mapping[str, Any]]:
    return [v for v in _list(value) if isinstance(v, Mapping)]
