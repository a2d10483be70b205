"""A folder of ORG/NAME folders, read as the Hub would tell of them.

Knows: how a repo is read (flows/mirror/repo), remembered until a file changes. Does not know: HTTP, who asks.
A commit is a hash over names and contents, so equal folders have equal commits; there are no older ones.
"""

from __future__ import annotations

import hashlib
import logging
import operator
import os
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from pydantic import ValidationError

from catalog.errors import SettingError
from flows.mirror.card import CARD_BYTES, CONFIG_BYTES, REPO_ID, Facts, facts_of
from flows.mirror.disk import SIDECAR, Hashes, HubFile, Stamp, lfs_patterns, walk
from flows.mirror.repo import Repo, Sidecar
from flows.mirror.shelf import Row

_log = logging.getLogger(__name__)


class FolderShelf:
    """All repos of a folder. Every look at a repo walks it, so a changed file shows at once.

    Args:
        folder: holds ORG/NAME/files.
        fresh_s: seconds for which a listing may rest on the last walk over all repos. 0 walks for every page;
            with tens of thousands of repos a walk takes seconds.
    """

    def __init__(self, folder: Path, fresh_s: float = 0.0, clock: Callable[[], float] = time.monotonic) -> None:
        if not folder.is_dir():
            raise SettingError(f"There is no folder {folder}.", "Give a folder that holds ORG/NAME folders of files.")
        self.folder, self.fresh_s, self._clock = folder.resolve(), fresh_s, clock
        self._lock = threading.Lock()
        self._walked: float | None = None
        self._edition, self._rows = 0, list[Repo]()
        self._renamed, self._by_lower_case = dict[str, str](), dict[str, str]()
        self._hashes = Hashes()
        self._known: dict[str, tuple[tuple[Stamp, ...], str, Repo]] = {}
        if not self._ids():
            raise SettingError(f"The folder {folder} holds no repos.", "Put files under ORG/NAME/ in it first.")

    def rows(self) -> tuple[int, list[Repo]]:
        """Every repo, walked now or within the last `fresh_s` seconds; a new edition when one is another."""
        with self._lock:
            if self._walked is None or self._clock() - self._walked >= self.fresh_s:
                self._walk()
            return self._edition, self._rows

    def whole(self, row: Row) -> Repo | None:
        """The row itself: a walk has read all of it."""
        return row if isinstance(row, Repo) else None

    def older(self, repo: Repo, sha: str) -> Repo | None:
        """None: a folder holds one commit."""
        return None

    def renamed(self, repo_id: str) -> str | None:
        """The repo whose sidecar says that it once had this name, or whose name differs in its capitals."""
        self.rows()
        return self._renamed.get(repo_id) or self._by_lower_case.get(repo_id.lower())

    def content(self, repo: Repo, file: HubFile) -> Path:
        """Where the file lies."""
        return self.folder / repo.id / file.name

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

    def _walk(self) -> None:
        found = [repo for repo in map(self.repo, self._ids()) if repo is not None]
        if len(found) != len(self._rows) or not all(map(operator.is_, found, self._rows)):
            self._edition, self._rows = self._edition + 1, found
            self._renamed = {old: repo.id for repo in found for old in repo.sidecar.formerly}
            self._by_lower_case = {repo.id.lower(): repo.id for repo in found}
        self._walked = self._clock()

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
        return Repo(repo_id, files, _commit(files), facts, sidecar, min(*times, modified), modified)

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
