"""Duplicates: the same weights under many names are stored once and linked.

Knows: which of several adapters with one content hash is the original. Does not know: how hashes are had.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from catalog.adapter import AdapterId


@dataclass(frozen=True, slots=True)
class Sound:
    """An adapter that passed every rule before the download. `key` is its verdict's: base, base sha, adapter key."""

    key: tuple[str, str, str]
    sha256: str | None
    downloads: int


def find_originals(sound: Iterable[Sound]) -> dict[tuple[str, str, str], str | None]:
    """Key of each → the adapter whose weights it repeats for the same base, None where it is the original itself.

    The original is the most downloaded, then the one whose name sorts first. Without a hash nothing is a duplicate.
    """
    first: dict[tuple[str, str, str], str] = {}
    originals: dict[tuple[str, str, str], str | None] = {}
    for one in sorted(sound, key=lambda s: (-s.downloads, AdapterId.parse(s.key[2]))):
        base, base_sha, adapter = one.key
        original = first.setdefault((base, base_sha, one.sha256), adapter) if one.sha256 else adapter
        originals[one.key] = original if original != adapter else None
    return originals
