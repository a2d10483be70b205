"""Which fragments count, where some were compacted into one: the rule that all readers follow.

Knows: names, and what a compacted fragment says that it replaces. Does not know: who compacts
(warehouse/ledger/compaction), what rows mean.

A compacted fragment, `compact-<hash>`, holds all rows of the fragments that its metadata names. As soon as it is there,
those no longer count, though their files stay for a while. Compacted fragments overlap only where two compactors ran at
once. Then the one with more fragments counts (of equals the first by name); what only the other holds is read from the
old fragments.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path

import pyarrow.parquet as pq

PREFIX = "compact-"
KEY = b"lorauter_replaces"


def is_compacted(name: str) -> bool:
    """Whether a fragment of that name is made of others."""
    return name.startswith(PREFIX)


def originals_of(path: Path) -> frozenset[str]:
    """Names of the fragments, none compacted itself, whose rows a compacted one holds. ValueError if damaged."""
    state = path.stat()
    return _originals(path, state.st_size, state.st_mtime_ns)


@lru_cache(maxsize=4096)
def _originals(path: Path, _size: int, _changed: int) -> frozenset[str]:
    names = json.loads((pq.read_schema(path).metadata or {})[KEY])
    return frozenset(str(name) for name in names)


def counting(compacted: Mapping[str, frozenset[str]]) -> dict[str, frozenset[str]]:
    """Of compacted fragments (name → originals) those that count: none overlaps another."""
    taken: set[str] = set()
    kept = {}
    for name, names in sorted(compacted.items(), key=lambda item: (-len(item[1]), item[0])):
        if not names & taken:
            taken |= names
            kept[name] = names
    return kept


def current_paths(paths: Iterable[Path]) -> list[Path]:
    """The fragments to read of those that lie there, in their order."""
    listed = list(paths)
    made = {path.stem: path for path in listed if is_compacted(path.stem)}
    if not made:
        return listed
    kept = counting({name: originals_of(path) for name, path in made.items()})
    replaced = frozenset().union(*kept.values())
    return [path for path in listed if path.stem in kept or (path.stem not in replaced and path.stem not in made)]
