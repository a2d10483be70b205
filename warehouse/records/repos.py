"""Rows of the ledger's table `repos`: a repo as a target's listing shows it.

Knows: the columns. Does not know: how listings are had (crawl_hub) or read (validate_adapters).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from catalog.adapters.facts import RepoListing
from catalog.hub.target import Target
from warehouse.ledger.ledger import Ledger


def repo_row(
    target: Target, listing: RepoListing, gone: str | None = None, gone_to: str | None = None
) -> dict[str, Any]:
    """What a target's listing says of a repo, or why it holds it no longer."""
    fields = {**asdict(listing), "files": list(listing.files), "tags": list(listing.tags)}
    return {"target": target.key, **fields, "gone": gone, "gone_to": gone_to}


def listing_of(row: Mapping[str, Any]) -> RepoListing:
    """The inverse of `repo_row`."""
    fields = {name: row[name] for name in RepoListing.__dataclass_fields__}
    told = {"files": tuple(row["files"]), "tags": tuple(row["tags"]), "created": row["created"] or ""}
    return RepoListing(**{**fields, **told})


def gone_repos(ledger: Ledger) -> dict[str, str]:
    """Repos that every target which ever listed them has lost, by what the last crawl found."""
    found: dict[str, list[str | None]] = {}
    for (_, repo), (gone,) in ledger.index("repos", ["gone"]).columns.items():
        found.setdefault(repo, []).append(gone)
    return {repo: str(reasons[0]) for repo, reasons in found.items() if all(reasons)}
