"""Rows of the ledger's table `pages`: passes over listings, page by page, and where each stands.

Knows: the columns, which pass of a target is its last. Does not know: which pass is due (flows/crawl).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime

from warehouse.ledger.ledger import Ledger

SWEEP, INCREMENT = "sweep", "increment"


@dataclass(frozen=True, slots=True)
class Pass:
    """One pass over a target's listing and where it stands.

    Args:
        target: key of the target.
        crawl: name of the pass, its start.
        kind: a sweep of every page, or an increment down to the mark.
        page: pages in the ledger.
        next_url: where it goes on; None before the first page and after the last.
        mark: lastModified where an increment stops.
        newest: the largest lastModified of the pass: the next one's mark.
        ended: whether the pass is complete, tombstones included.
    """

    target: str
    crawl: str
    kind: str
    page: int = 0
    next_url: str | None = None
    mark: str = ""
    newest: str = ""
    ended: bool = False

    @property
    def listed(self) -> bool:
        """Whether its last page is in the ledger."""
        return self.page > 0 and self.next_url is None


class Passes:
    """Where every target stands, from the ledger and back into it."""

    _columns = ("kind", "next_url", "mark", "newest", "ended", "at")

    def __init__(self, ledger: Ledger) -> None:
        self._pages = ledger.changes("pages")
        self._last: dict[str, Pass] = {}
        self._swept: dict[str, datetime] = {}
        rows = ledger.index("pages", self._columns).columns.items()
        for (target, name, page), (kind, next_url, mark, newest, ended, at) in sorted(rows, key=lambda row: row[1][-1]):
            self._last[target] = Pass(target, name, kind, page, next_url, mark, newest, ended)
            if ended and kind == SWEEP:
                self._swept[target] = at

    def last(self, target: str) -> Pass | None:
        """The last pass over a target, ended or not."""
        return self._last.get(target)

    def swept(self, target: str) -> datetime | None:
        """When the last whole sweep of a target ended."""
        return self._swept.get(target)

    def note(self, at: Pass, repos: Sequence[str] = (), error: str | None = None) -> None:
        """Write where a pass stands.

        Args:
            repos: those on the page that it just turned.
            error: why the next page could not be had.
        """
        self._last[at.target] = at
        self._pages.append([{**asdict(at), "repos": list(repos), "error": error}])


def shown_repos(ledger: Ledger, target: str, crawl: str) -> set[str]:
    """The repos on the pages of a pass; every row counts, for one that notes an error repeats its page's number."""
    rows = ledger.where("pages", {"target": target, "crawl": crawl}, ["repos"])
    return {repo for row in rows for repo in row["repos"]}


def was_crawled(ledger: Ledger) -> bool:
    """Whether any listing was ever turned."""
    return len(ledger.index("pages")) > 0
