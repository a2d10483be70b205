"""The pool: the adapters that the crawled targets list now, and the base each is judged for.

Knows: which rows of the ledger's `repos` count, tombstones left out. Does not know: rules, verdicts, the hub.
Adapters listed under a base (or a twin of it) are judged for that base; those of other targets alone for the base that
they name themselves. The pool is gone through fragment by fragment, so its size does not decide the memory it takes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from catalog.adapters.adapter import AdapterId
from catalog.adapters.facts import RepoListing
from catalog.wanted import Wanted
from warehouse.ledger.ledger import Ledger
from warehouse.records.repos import repo_of

OWN = ""  # judged for the base it names itself


@dataclass(frozen=True, slots=True)
class Member:
    """One adapter of the pool: the base it is judged for (OWN: its own), its repo's listing and the row's hash."""

    judged_for: str
    id: AdapterId
    listing: RepoListing
    content: str


class Pool:
    """The pool of what is wanted, as the ledger has it now."""

    def __init__(self, ledger: Ledger, wanted: Wanted) -> None:
        self._index = ledger.index("repos", ["gone", "at"])
        judged_for = wanted.judged_for
        latest: dict[tuple[str, str], tuple[str, str]] = {}
        for key, (gone, at) in self._index.columns.items():
            target, repo = key
            base = judged_for.get(target, None if target.startswith("base:") else OWN)
            if gone is not None or base is None:
                continue
            other = latest.get((base, repo))
            if other is None or self._index.columns[other][1] < at:
                latest[base, repo] = key
        of_bases = {repo for base, repo in latest if base != OWN}
        self._bases: dict[tuple[str, str], list[str]] = {}
        for (base, repo), key in latest.items():
            if base != OWN or repo not in of_bases:
                self._bases.setdefault(key, []).append(base)

    def has(self, base: str) -> bool:
        """Whether any adapter is judged for a base, or (OWN) for its own."""
        return any(base in bases for bases in self._bases.values())

    def members(self) -> Iterator[Member]:
        """Every adapter of the pool, one fragment of the ledger in memory at a time."""
        for row in map(repo_of, self._index.rows(self._bases)):
            for base in self._bases[row.key]:
                for id_ in row.listing.adapters():
                    yield Member(base, id_, row.listing, row.content)
