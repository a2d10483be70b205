"""Duplicates: the same weights under many names are stored once and linked.

Knows: which of several adapters with one content hash is the original. Does not know: where hashes come from.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from catalog.adapters.adapter import AdapterId

Key = tuple[str, str, str]
"""Of a verdict: base, base sha, adapter key."""


@dataclass(frozen=True, slots=True)
class Sound:
    """An adapter that passed every rule before the download.

    Args:
        key: its verdict's.
        created: when its repo was made, ISO 8601; "" in rows of an older version, which count as the oldest.
    """

    key: Key
    sha256: str | None
    downloads: int
    created: str = ""


def find_originals(sound: Iterable[Sound], barred: Collection[Key] = ()) -> dict[Key, str | None]:
    """Key of each → the adapter whose weights it repeats for the same base, None where it is the original itself.

    The original is the oldest, then the most downloaded, then the one whose name sorts first. Without a hash nothing
    is a duplicate.

    Args:
        barred: keys of adapters that are no original, because they are banned or their weights cannot be downloaded.
            One that would have been the original without that is no duplicate either.
    """
    groups: dict[tuple[str, str, str | None], list[Sound]] = {}
    for one in sorted(sound, key=lambda s: (s.created, -s.downloads, AdapterId.parse(s.key[2]))):
        groups.setdefault((*one.key[:2], one.sha256) if one.sha256 else one.key, []).append(one)
    originals: dict[Key, str | None] = {}
    for group in groups.values():
        # The oldest is the original, or is barred.
        original = next((one for one in group if one.key not in barred), group[0])
        originals |= {one.key: original.key[2] for one in group}
        originals |= {group[0].key: None, original.key: None}
    return originals
