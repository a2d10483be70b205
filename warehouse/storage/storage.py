"""Storage: files that many processes share, on one machine or on many.

    Storage
    ├── FolderStorage    a folder: of this machine, or of a network disk
    └── RemoteStorage    behind a URL, with a cache of what was read (warehouse/storage/remote)

Knows: how a file gets there whole, what lies there, where this machine has it. Does not know: what files mean.
Names are relative, with slashes. A file never changes once it is put; heartbeats (`touch`) are the exception.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from warehouse.storage.files import write_atomically


@dataclass(frozen=True, order=True, slots=True)
class Stamp:
    """What differs when a file was written again.

    Args:
        size: bytes.
        changed_ns: when it was last written, nanoseconds since 1970; 0 where the storage tells no time.
    """

    size: int
    changed_ns: int

    def age(self, now: float) -> float:
        """Seconds since it was written, at `now`, seconds since 1970; 0 where the storage tells no time."""
        return now - self.changed_ns / 1e9 if self.changed_ns else 0.0


class Storage(ABC):
    """A folder of files that others see too. `folder` is where this machine has them, or copies of them."""

    folder: Path

    @abstractmethod
    def sub(self, name: str) -> Storage:
        """A folder of it."""

    @abstractmethod
    def address(self, name: str) -> str:
        """What a person calls a file: its path or URL."""

    @abstractmethod
    def names(self, folder: str = "") -> set[str]:
        """Names of the files of a folder."""

    @abstractmethod
    def folders(self, folder: str = "") -> set[str]:
        """Names of the folders in a folder."""

    @abstractmethod
    def stamps(self) -> dict[str, Stamp]:
        """The files at the top, and when each was last written."""

    @abstractmethod
    def present(self, names: Iterable[str]) -> set[str]:
        """Those of `names` that exist."""

    @abstractmethod
    def put(self, name: str, write: Callable[[Path], None]) -> None:
        """Let `write` fill a file, then show it to others under its name, whole."""

    @abstractmethod
    def touch(self, name: str) -> None:
        """Write a file anew that says nothing: its stamp changes."""

    @abstractmethod
    def local(self, name: str) -> Path:
        """A file on this machine, fetched if need be. Raises FileNotFoundError where there is none."""

    @abstractmethod
    def locals(self, folder: str) -> list[Path]:
        """All files of a folder on this machine, by name, those fetched that were not here yet."""

    @abstractmethod
    def delete(self, name: str) -> None:
        """Delete a file; it may have gone before."""


class FolderStorage(Storage):
    """A folder: its files are where they are."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def sub(self, name: str) -> FolderStorage:
        """A folder of it."""
        return FolderStorage(self.folder / name)

    def address(self, name: str) -> str:
        """The path."""
        return str(self.folder / name)

    def names(self, folder: str = "") -> set[str]:
        """Names of the files of a folder; what begins with a dot is still being written."""
        return {entry.name for entry in self._entries(folder) if entry.is_file()}

    def folders(self, folder: str = "") -> set[str]:
        """Names of the folders in a folder."""
        return {entry.name for entry in self._entries(folder) if entry.is_dir()}

    def _entries(self, folder: str) -> list[os.DirEntry[str]]:
        try:
            with os.scandir(self.folder / folder) as entries:
                return [entry for entry in entries if not entry.name.startswith(".")]
        except FileNotFoundError:
            return []

    def stamps(self) -> dict[str, Stamp]:
        """The files at the top, and when each was last written."""
        stamps = {}
        for name in self.names():
            try:
                state = (self.folder / name).stat()
            except FileNotFoundError:  # deleted since
                continue
            stamps[name] = Stamp(state.st_size, state.st_mtime_ns)
        return stamps

    def present(self, names: Iterable[str]) -> set[str]:
        """Those of `names` that exist."""
        return {name for name in names if (self.folder / name).exists()}

    def put(self, name: str, write: Callable[[Path], None]) -> None:
        """Write beside, then rename."""
        write_atomically(self.folder / name, write)

    def touch(self, name: str) -> None:
        """Write an empty file, or only its time."""
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / name).touch()

    def local(self, name: str) -> Path:
        """The file itself."""
        if not (self.folder / name).exists():
            raise FileNotFoundError(self.folder / name)
        return self.folder / name

    def locals(self, folder: str) -> list[Path]:
        """The files themselves."""
        return [self.folder / folder / name for name in sorted(self.names(folder))]

    def delete(self, name: str) -> None:
        """Delete a file; it may have gone before."""
        (self.folder / name).unlink(missing_ok=True)


def storage_at(where: Path | Storage) -> Storage:
    """A folder as a storage; a storage as it is."""
    return FolderStorage(where) if isinstance(where, Path) else where
