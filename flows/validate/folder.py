"""Validate a local folder of adapters: the crawl's rules and deep checks, offline, without a request.

Knows: how a folder on the disk stands in for a repo, bounded reads of it, bases as ORG/NAME/config.json.
Does not know: the rules (catalog/rules), the ledger. Symlinks are not followed, pickles are never opened.

One adapter alone is judged: copies of one another in the folder are no `duplicate`, which is a pool's matter.
"""

from __future__ import annotations

import json
import os
import stat
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path

from catalog.adapters.adapter import AdapterId, Finding
from catalog.adapters.card import CARD_LIMIT, CARD_NAME
from catalog.adapters.facts import CONFIG_NAME, WEIGHTS_NAME, AdapterFacts, RawAdapter, RepoListing, gather_facts
from catalog.adapters.front_matter import front_matter
from catalog.adapters.parse import CONFIG_LIMIT, Problem, header_length, is_lfs_pointer, parse_config
from catalog.bases.base import Base
from catalog.bases.names import BaseMatch, canonical, match_base
from catalog.errors import HubError, SettingError, UnsupportedAdapter
from catalog.rules.table import Policy, judge, judge_weights
from warehouse.storage.files import write_text

FILES_LIMIT = 20_000  # files of one entry; what is beyond is not looked at
DEPTH_LIMIT = 12  # folders in one another
_NOWHERE = "0" * 40  # a folder has no commit


@dataclass(frozen=True, slots=True)
class FolderVerdict:
    """The verdict on one adapter of a folder.

    Args:
        folder: its folder below the one that was judged; "." where that is the adapter itself.
        base: id of the base that it is made for; None where nothing tells.
        findings: every rule that failed, in the order of the rules.
    """

    folder: str
    base: str | None
    findings: tuple[Finding, ...]

    @property
    def admitted(self) -> bool:
        """Whether every rule passed."""
        return not self.findings

    @property
    def reason(self) -> str | None:
        """The first rule that failed."""
        return self.findings[0].reason if self.findings else None


def judge_folder(
    folder: Path, policy: Policy, bases: Path | None = None, aliases: Mapping[str, str] = {}
) -> list[FolderVerdict]:
    """The verdict on every adapter in a folder, each judged for the base that it is made for; sorted by folder.

    Args:
        folder: holds one entry a repo, adapters in it or in its subfolders; or is one adapter itself.
        bases: holds ORG/NAME/config.json of base models, for the rules about modules. Without it, or without
            an adapter's base in it, those rules are undecided and pass.
        aliases: other name → base id.

    Raises:
        SettingError: a folder is none, or cannot be read.
    """
    shelf = _Bases(bases, aliases)
    verdicts = (_judge(entry, policy, shelf) for entry in _adapters(folder))
    return sorted(verdicts, key=lambda verdict: verdict.folder)


def write_verdicts(verdicts: Sequence[FolderVerdict], to: Path) -> None:
    """Write the verdicts as JSON to a file, or to standard output for `-`."""
    rows = [
        {
            "folder": verdict.folder,
            "admitted": verdict.admitted,
            "reason": verdict.reason,
            "findings": [asdict(finding) for finding in verdict.findings],
            "base": verdict.base,
        }
        for verdict in verdicts
    ]
    text = json.dumps(rows, indent=2, ensure_ascii=False) + "\n"
    if str(to) == "-":
        sys.stdout.write(text)
    else:
        write_text(to, text)


@dataclass(frozen=True, slots=True)
class _Entry:
    """One adapter: its name in the result, its repo's folder, the repo as a hub would list it, its id."""

    name: str
    root: Path
    listing: RepoListing
    id: AdapterId

    @property
    def folder(self) -> Path:
        """Where the adapter's own files are."""
        return self.root / self.id.path


def _adapters(folder: Path) -> Iterator[_Entry]:
    entries = sorted(_entries(folder), key=lambda e: e.name)
    if any(entry.name == CONFIG_NAME and entry.is_file(follow_symlinks=False) for entry in entries):
        listing = _listing(folder)
        yield _Entry(".", folder, listing, AdapterId(listing.repo, "", listing.sha))
        return
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            root = Path(entry.path)
            listing = _listing(root)
            for id_ in listing.adapters():
                yield _Entry(f"{entry.name}/{id_.path}" if id_.path else entry.name, root, listing, id_)


def _listing(root: Path) -> RepoListing:
    """The folder as a hub would list it. It has no owner, so its own name is not held against it."""
    files = tuple(sorted(islice(_files(root), FILES_LIMIT)))
    return RepoListing("local/adapter", _NOWHERE, files, tags=_card_tags(root / CARD_NAME))


def _card_tags(readme: Path) -> tuple[str, ...]:
    """What the card's front matter says of bases and licence, in the hub's tags."""
    text = _head(readme, CARD_LIMIT)[0].decode("utf-8", "replace")
    card = front_matter(text)
    bases = [f"base_model:{name}" for name in _texts(card.get("base_model"))]
    return (*bases, *(f"license:{name}" for name in _texts(card.get("license"))))


def _texts(value: object) -> list[str]:
    many = value if isinstance(value, list) else [value]
    return [text for text in many if isinstance(text, str) and text]


def _judge(entry: _Entry, policy: Policy, shelf: _Bases) -> FolderVerdict:
    listing = entry.listing
    if entry.id.path:  # a checkpoint's own card, where it has one, speaks beside the repo's
        listing = replace(listing, tags=listing.tags + _card_tags(entry.folder / CARD_NAME))
    facts = gather_facts(listing, entry.id, _read(entry.folder, listing.files_in(entry.id.path)))
    base, match, problem = shelf.base_of(facts)
    findings = judge(facts, base, policy, match, problem) or _deep(entry.folder, facts)
    return FolderVerdict(entry.name, match.base, tuple(findings))


def _deep(folder: Path, facts: AdapterFacts) -> list[Finding]:
    """What only the weights show: NaN, zero B, and whatever the engine would refuse."""
    if not facts.header_read:
        return []
    from lorauter.adapters.weights import JUDGED, read_adapter
    from lorauter.adapters.weights_check import check_weights

    if findings := judge_weights(facts, check_weights(folder / WEIGHTS_NAME).facts):
        return findings
    try:
        read_adapter(folder, JUDGED)
    except UnsupportedAdapter as error:
        return [Finding("unsupported", error.cause[:500])]
    return []


def _read(folder: Path, files: tuple[str, ...]) -> RawAdapter:
    """Config and header, as the hub's two reads would bring them."""
    if CONFIG_NAME not in files:
        return RawAdapter()
    data = _head(folder / CONFIG_NAME, CONFIG_LIMIT + 1)[0]
    parsed = parse_config(data)
    if isinstance(parsed, Problem):
        return RawAdapter(problems=(parsed,))
    config = data.decode("utf-8-sig")
    if WEIGHTS_NAME not in files:
        return RawAdapter(config)
    header, size = _read_header(folder / WEIGHTS_NAME)
    if isinstance(header, Problem):
        return RawAdapter(config, None, size, None, (header,))
    return RawAdapter(config, header, size)


def _read_header(path: Path) -> tuple[str | Problem, int]:
    """The safetensors header's text, or why there is none; and the size of the file."""
    head, size = _head(path, 1024)
    if is_lfs_pointer(head):
        return _pointer(head), size
    length = header_length(head, size)
    if isinstance(length, Problem):
        return length, size
    try:
        return _head(path, 8 + length)[0][8:].decode(), size
    except UnicodeDecodeError as error:
        return Problem("bad_header", f"the safetensors header: not UTF-8 (byte {error.start})"), size


def _pointer(text: bytes) -> Problem:
    """The finding about a pointer, with what it says of the file that is missing."""
    fields = dict(line.split(" ", 1) for line in text.decode("ascii", "replace").splitlines() if " " in line)
    told = f"{fields.get('size', '?')[:20]} bytes, {fields.get('oid', '?')[:80]}"
    return Problem("lfs_pointer", f"the weights are a git-LFS pointer, the file itself is missing ({told})")


def _files(root: Path, prefix: str = "", depth: int = 0) -> Iterator[str]:
    """Paths of the regular files under a folder, no link followed: a folder's own before those of its subfolders."""
    for entry in sorted(_entries(root), key=lambda e: (e.is_dir(follow_symlinks=False), e.name)):
        if entry.is_file(follow_symlinks=False):
            yield prefix + entry.name
        elif entry.is_dir(follow_symlinks=False) and depth < DEPTH_LIMIT and entry.name != ".git":
            yield from _files(Path(entry.path), f"{prefix}{entry.name}/", depth + 1)


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError as error:
        raise SettingError(f"{folder} cannot be read ({error.strerror}).", "Name a folder of adapters.") from error


def _head(path: Path, limit: int) -> tuple[bytes, int]:
    """The first bytes of a regular file and its size; nothing of anything else."""
    try:
        # Neither a link nor a pipe that waits for a writer is opened, whatever it became since it was listed.
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return b"", 0
    with os.fdopen(handle, "rb") as file:
        status = os.fstat(handle)
        return (file.read(limit), status.st_size) if stat.S_ISREG(status.st_mode) else (b"", 0)


class _Bases:
    """Bases on the disk, built from their configs when an adapter asks for one."""

    def __init__(self, folder: Path | None, aliases: Mapping[str, str]) -> None:
        self._aliases = aliases
        self._paths = dict(_configs(folder)) if folder else {}
        self._built: dict[str, Base | str] = {}

    def base_of(self, facts: AdapterFacts) -> tuple[Base | None, BaseMatch, str | None]:
        """The base an adapter is made for, where it is here; how it was told; why it could not be read."""
        match = match_base(facts, [Base(id_, _NOWHERE, {}) for id_ in self._paths], self._aliases)
        if match.base is None:
            return None, match, None
        id_ = next((i for i in self._paths if self._same(i, match.base)), None)
        built = self._build(id_) if id_ else None
        return (None, match, built) if isinstance(built, str) else (built, match, None)

    def _same(self, one: str, other: str) -> bool:
        return canonical(one, self._aliases).lower() == canonical(other, self._aliases).lower()

    def _build(self, id_: str) -> Base | str:
        if id_ not in self._built:
            self._built[id_] = _build(id_, self._paths[id_])
        return self._built[id_]


def _configs(folder: Path) -> Iterator[tuple[str, Path]]:
    for org in sorted(_entries(folder), key=lambda e: e.name):
        if org.is_dir():
            for path in sorted(Path(org.path).glob("*/config.json")):
                yield f"{org.name}/{path.parent.name}", path


def _build(id_: str, path: Path) -> Base | str:
    from lorauter.adapters.base_modules import base_from_config

    config = parse_config(path.read_bytes()[: CONFIG_LIMIT + 1])
    if isinstance(config, Problem):
        return config.evidence.replace(CONFIG_NAME, f"{id_}/config.json")
    try:
        return base_from_config(id_, _NOWHERE, config)
    except HubError as error:
        return error.cause
