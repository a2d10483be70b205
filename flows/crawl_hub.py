"""Crawl: page through a hub's listing of a base's adapters into the ledger.

Knows: pages, what is new. Does not know: what makes an adapter good (validate_adapters).
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from catalog.facts import RepoListing
from flows.home import Home
from flows.progress import stage


def crawl(home: Home) -> int:
    """Write every listed repo that is new or changed to the ledger, page by page. Returns how many were listed.

    A killed crawl keeps the pages it had; the next one lists again and writes only what differs.
    """
    base = home.settings.base
    changes = home.ledger.changes("listings")
    listed = 0
    with stage("crawl", unit="repos") as advance:
        for page in home.hub.list_adapters(base):
            changes.append(_row(base, listing) for listing in page.repos)
            listed += len(page.repos)
            advance(len(page.repos))
    return listed


def listings(home: Home) -> list[RepoListing]:
    """The current listing of the settings' base, by repo."""
    rows = [row for row in home.ledger.current("listings") if row["base"] == home.settings.base]
    return [_listing(row) for row in sorted(rows, key=lambda row: row["repo"])]


def _row(base: str, listing: RepoListing) -> dict[str, Any]:
    return {"base": base, **asdict(listing), "files": list(listing.files), "tags": list(listing.tags)}


def _listing(row: dict[str, Any]) -> RepoListing:
    fields = {name: row[name] for name in RepoListing.__dataclass_fields__}
    return RepoListing(**{**fields, "files": tuple(row["files"]), "tags": tuple(row["tags"])})
