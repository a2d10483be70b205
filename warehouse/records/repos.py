"""Rows of the ledger's table `repos`: a repo as a target's listing shows it, or why it holds it no longer.

Knows: the columns, which rows are current. Does not know: how listings are had (flows/crawl).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from datetime import datetime
from typing import Any

from catalog.adapters.facts import RepoListing
from warehouse.ledger.ledger import Ledger

RepoKey = tuple[str, str]
"""Key of a target, name of a repo."""
_LISTING = tuple(field.name for field in fields(RepoListing))


@dataclass(frozen=True, slots=True)
class RepoRow:
    """What a target's listing says of a repo.

    Args:
        target: key of the target.
        listing: the repo as it was last shown.
        gone: why the target holds it no longer (a tombstone); None while it does.
        gone_to: its new name, where it was renamed.
        content: hash of the row as it is stored; "" before that.
        at: when it was first seen so; None before it is stored.
        dated: whether the row tells when the repo was made; those of an older version do not.
    """

    target: str
    listing: RepoListing
    gone: str | None = None
    gone_to: str | None = None
    content: str = ""
    at: datetime | None = None
    dated: bool = True

    @property
    def key(self) -> RepoKey:
        """Target and repo: there is one current row of each."""
        return self.target, self.listing.repo

    def buried(self, gone: str, gone_to: str | None = None) -> RepoRow:
        """The tombstone: the listing as it was, and why it is there no longer."""
        return replace(self, gone=gone, gone_to=gone_to)


class Repos:
    """The current rows, one a target and repo: why each is gone at hand, the rest read when asked for."""

    def __init__(self, ledger: Ledger) -> None:
        self._index = ledger.index("repos", ["gone"])

    def listed(self) -> Iterator[RepoKey]:
        """Those that are no tombstones."""
        return (key for key, (gone,) in self._index.columns.items() if gone is None)

    def rows(self, keys: Iterable[RepoKey]) -> Iterator[RepoRow]:
        """The rows of `keys`, one fragment of the ledger in memory."""
        return map(repo_of, self._index.rows(keys))

    def called(self, repo: str) -> Iterator[RepoRow]:
        """What each target says of a repo."""
        return self.rows(key for key in self._index if key[1] == repo)


class RepoChanges:
    """Writes what differs from the current rows."""

    def __init__(self, ledger: Ledger) -> None:
        self._changes = ledger.changes("repos")

    def append(self, rows: Iterable[RepoRow]) -> None:
        """Write the rows that are new or different, as one fragment."""
        self._changes.append(map(_columns, rows))


def gone_repos(ledger: Ledger) -> dict[str, str]:
    """Repos that every target which ever listed them has lost, by what the last crawl found."""
    told: dict[str, list[str | None]] = {}
    for key, (gone,) in ledger.index("repos", ["gone"]).columns.items():
        told.setdefault(key[1], []).append(gone)
    return {repo: str(reasons[0]) for repo, reasons in told.items() if all(reasons)}


def repo_of(row: Mapping[str, Any]) -> RepoRow:
    """A stored row."""
    told = {name: row[name] for name in _LISTING}
    told |= {"files": tuple(row["files"]), "tags": tuple(row["tags"]), "created": row["created"] or ""}
    dated = row["created"] is not None
    return RepoRow(
        row["target"], RepoListing(**told), row["gone"], row["gone_to"], row["content"] or "", row["at"], dated
    )


def _columns(row: RepoRow) -> dict[str, Any]:
    told = {name: getattr(row.listing, name) for name in _LISTING}
    told |= {"files": list(row.listing.files), "tags": list(row.listing.tags)}
    if not row.dated:
        told["created"] = None
    return {"target": row.target, **told, "gone": row.gone, "gone_to": row.gone_to}
