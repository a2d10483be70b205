"""Repos: a folder of ORG/NAME folders, read as the Hub would tell of them.

Knows: commit, dates, sidecar, tags of a repo, remembered until a file changes. Does not know: HTTP, who asks.
A commit is a hash over names and contents, so equal folders have equal commits; there is no history.
"""

from __future__ import annotations

import hashlib
import logging
import os
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from catalog.errors import SettingError
from flows.mirror.card import CARD_BYTES, CONFIG_BYTES, REPO_ID, Facts, facts_of
from flows.mirror.disk import SIDECAR, Hashes, HubFile, Stamp, lfs_patterns, walk

_log = logging.getLogger(__name__)


class Sidecar(BaseModel):
    """What `.hub.json` in a repo's folder says that no file could: all of it optional."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    lastModified: datetime | None = None
    downloads: int = 0
    likes: int = 0
    private: bool = False
    gated: bool | Literal["auto", "manual"] = False
    tags: tuple[str, ...] | None = None
    disabled: bool = False


@dataclass(frozen=True, slots=True)
class Repo:
    """One repo at its only commit."""

    id: str
    folder: Path
    files: tuple[HubFile, ...]
    sha: str
    facts: Facts
    sidecar: Sidecar
    created: datetime
    modified: datetime

    @property
    def namespace(self) -> str:
        return self.id.partition("/")[0]

    @property
    def gated(self) -> Literal["auto", "manual", False]:
        return "manual" if self.sidecar.gated is True else self.sidecar.gated

    @property
    def tags(self) -> tuple[str, ...]:
        return self.facts.tags if self.sidecar.tags is None else self.sidecar.tags

    def file(self, name: str) -> HubFile | None:
        """A file by its exact name: what the walk did not see is not there, whatever it resolves to."""
        return None if "\\" in name else next((file for file in self.files if file.name == name), None)

    def has_revision(self, revision: str) -> bool:
        return revision in ("main", "HEAD", "refs/heads/main", self.sha)


class Shelf:
    """All repos of a folder. Every look walks the disk, so a changed file shows at once."""

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise SettingError(f"There is no folder {folder}.", "Give a folder that holds ORG/NAME folders of files.")
        self.folder = folder.resolve()
        self._hashes = Hashes()
        self._known: dict[str, tuple[tuple[Stamp, ...], str, Repo]] = {}
        if not self._ids():
            raise SettingError(f"The folder {folder} holds no repos.", "Put files under ORG/NAME/ in it first.")

    def repos(self) -> list[Repo]:
        return [repo for repo in map(self.repo, self._ids()) if repo is not None]

    def repo(self, repo_id: str) -> Repo | None:
        """The repo, or None when there is none of this name, it holds no file, or its sidecar is broken."""
        if REPO_ID.fullmatch(repo_id) is None:
            return None
        folder = self.folder / repo_id
        if not _real_folder(folder.parent) or not _real_folder(folder):
            return None
        try:
            return self._look(repo_id, folder)
        except OSError as error:  # removed while we looked, or not ours to read
            _log.warning("%s is not served: %s", repo_id, error)
            return None
        except ValidationError as error:
            # Fail closed: the line that does not parse may be the one that says "private".
            _log.warning("%s is not served: its %s is wrong: %s", repo_id, SIDECAR, error)
            return None

    def _look(self, repo_id: str, folder: Path) -> Repo | None:
        stamps, side = walk(folder), _head(folder / SIDECAR, CARD_BYTES)
        if not stamps:
            return None
        known = self._known.get(repo_id)
        if known is None or known[:2] != (stamps, side):
            known = self._known[repo_id] = (stamps, side, self._read(repo_id, folder, stamps, side))
        return known[2]

    def _read(self, repo_id: str, folder: Path, stamps: tuple[Stamp, ...], side: str) -> Repo:
        sidecar = Sidecar.model_validate_json(side) if side else Sidecar()
        patterns = lfs_patterns(_head(folder / ".gitattributes", CARD_BYTES))
        files = tuple(self._hashes.of(folder, stamp, patterns) for stamp in stamps)
        times = [datetime.fromtimestamp(stamp.mtime_ns / 1e9, UTC) for stamp in stamps]
        modified = _utc(sidecar.lastModified) if sidecar.lastModified else max(times)
        facts = _facts(folder, [file.name for file in files])
        return Repo(repo_id, folder, files, _commit(files), facts, sidecar, min(*times, modified), modified)

    def _ids(self) -> list[str]:
        orgs = [entry.name for entry in os.scandir(self.folder) if entry.is_dir(follow_symlinks=False)]
        ids = (f"{org}/{entry.name}" for org in orgs for entry in os.scandir(self.folder / org))
        return sorted(repo_id for repo_id in ids if REPO_ID.fullmatch(repo_id))


def _facts(folder: Path, names: list[str]) -> Facts:
    adapter = _head(folder / "adapter_config.json", CONFIG_BYTES) if "adapter_config.json" in names else None
    readme, config = _head(folder / "README.md", CARD_BYTES), _head(folder / "config.json", CONFIG_BYTES)
    return facts_of(readme, adapter, config, names)


def _commit(files: tuple[HubFile, ...]) -> str:
    listing = "".join(f"{file.name}\0{file.sha256}\n" for file in files)
    return hashlib.sha1(listing.encode(), usedforsecurity=False).hexdigest()


def _utc(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _real_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _head(path: Path, limit: int) -> str:
    """The first bytes of a file as text; nothing for what is missing or no regular file."""
    if path.is_symlink() or not path.is_file():
        return ""
    with path.open("rb") as file:
        return file.read(limit).decode("utf-8", "replace")
