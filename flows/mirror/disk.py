"""Files on the disk: which ones belong to a repo, and their hashes.

Knows: walking a folder without leaving it, git and LFS hashes. Does not know: cards, accounts, routes.
Symlinks, special files, .git and .cache are no part of a repo, nor are names that are not UTF-8.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

SIDECAR = ".hub.json"
LFS_BYTES = 10 << 20
_OUTSIDE = {".git", ".cache"}
_LFS_ENDINGS = (
    ".7z .arrow .bin .bz2 .ckpt .ftz .gguf .gz .h5 .joblib .mlmodel .model .msgpack .npy .npz .onnx .ot"
    " .parquet .pb .pickle .pkl .pt .pth .rar .safetensors .tar .tflite .tgz .wasm .xz .zip .zst"
)


@dataclass(frozen=True, slots=True)
class Stamp:
    """A file as a walk sees it: enough to tell whether it changed."""

    name: str
    size: int
    mtime_ns: int


@dataclass(frozen=True, slots=True)
class HubFile:
    """A file as the Hub tells of it. `oid` is git's: of the content, or of the pointer for an LFS file."""

    name: str
    size: int
    oid: str
    sha256: str
    lfs: bool
    pointer_size: int

    @property
    def etag(self) -> str:
        return self.sha256 if self.lfs else self.oid


def walk(folder: Path) -> tuple[Stamp, ...]:
    """The files of a repo by name, in order."""
    found: list[Stamp] = []
    prefixes = [""]
    while prefixes:  # a stack of our own: a hostile folder may nest deeper than Python recurses
        prefix = prefixes.pop()
        with os.scandir(folder / prefix) as entries:
            for entry in entries:
                name = prefix + entry.name
                facts = entry.stat(follow_symlinks=False)
                if not _belongs(name, entry.name):
                    continue
                if stat.S_ISDIR(facts.st_mode):
                    prefixes.append(f"{name}/")
                elif stat.S_ISREG(facts.st_mode):
                    found.append(Stamp(name, facts.st_size, facts.st_mtime_ns))
    return tuple(sorted(found, key=lambda stamp: stamp.name))


def _belongs(name: str, base: str) -> bool:
    """Whether an entry is part of the repo. Bytes that are no UTF-8 reach us as lone surrogates."""
    utf8 = not any("\ud800" <= letter <= "\udfff" for letter in base)
    return utf8 and base not in _OUTSIDE and name != SIDECAR


class Hashes:
    """Hashes every file once, and again only when its size or time changed."""

    def __init__(self) -> None:
        self._known: dict[Path, tuple[Stamp, str, str]] = {}

    def of(self, folder: Path, stamp: Stamp, lfs_patterns: tuple[str, ...]) -> HubFile:
        oid, sha256 = self._digests(folder / stamp.name, stamp)
        if is_lfs(stamp, lfs_patterns):
            return lfs_file(stamp.name, stamp.size, sha256)
        return HubFile(stamp.name, stamp.size, oid, sha256, lfs=False, pointer_size=0)

    def _digests(self, path: Path, stamp: Stamp) -> tuple[str, str]:
        known = self._known.get(path)
        if known is None or known[0] != stamp:
            known = self._known[path] = (stamp, *_read_digests(path, stamp.size))
        return known[1], known[2]


def _read_digests(path: Path, size: int) -> tuple[str, str]:
    git, sha256 = hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False), hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            git.update(block)
            sha256.update(block)
    return git.hexdigest(), sha256.hexdigest()


def lfs_pointer(size: int, sha256: str) -> bytes:
    """What git holds of a file in LFS."""
    return f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size}\n".encode()


def lfs_file(name: str, size: int, sha256: str) -> HubFile:
    """A file in LFS: git holds a pointer to it."""
    pointer = lfs_pointer(size, sha256)
    return HubFile(name, size, _git_oid(pointer), sha256, lfs=True, pointer_size=len(pointer))


def git_file(name: str, content: bytes) -> HubFile:
    """A file that git itself holds."""
    sha256 = hashlib.sha256(content).hexdigest()
    return HubFile(name, len(content), _git_oid(content), sha256, lfs=False, pointer_size=0)


def _git_oid(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def is_lfs(stamp: Stamp, patterns: tuple[str, ...]) -> bool:
    """Whether the Hub would keep the file in LFS: by its ending, its size, or the repo's .gitattributes."""
    base = stamp.name.rpartition("/")[2]
    return (
        stamp.size > LFS_BYTES
        or (PurePosixPath(base).suffix.lower() in _LFS_ENDINGS.split())
        or "tfevents" in base
        or any(fnmatchcase(stamp.name if "/" in pattern else base, pattern) for pattern in patterns)
    )


def lfs_patterns(gitattributes: str) -> tuple[str, ...]:
    """The patterns that a .gitattributes file hands to LFS."""
    rules = (line.split() for line in gitattributes.splitlines()[:500])
    found = (words[0].lstrip("/") for words in rules if "filter=lfs" in words[1:])
    return tuple(pattern for pattern in found if re.fullmatch(r"[\w.*?/\[\]\-]{1,100}", pattern))
