"""Tombstones: what became of repos that a listing no longer shows; and repos asked for one by one.

Knows: how to ask the hub about one repo, the words for what became of it. Does not know: listings (crawl_hub).
A repo that is gone keeps its rows and gets one more, with the reason and the date: nothing disappears in silence.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from catalog.adapters.facts import RepoListing
from catalog.chunks import chunks
from catalog.errors import HubDown, HubError, HubRefusal
from catalog.hub.target import Target
from flows.home.home import Home
from flows.screen.progress import Advance, say
from warehouse.ledger.ledger import Changes
from warehouse.records.repos import repo_row

MISSING = "deleted or private"
REFUSED = {  # what the hub says of a repo → why it is gone; of any other refusal nothing is known
    "missing": MISSING,
    "unseen": MISSING,
    "gated": "gated",
    "disabled": "disabled by the hub",
    "withheld": "withheld for legal reasons",
    "gone": "gone for good",
    "no_file": MISSING,
}
RENAMED = "renamed"
PRIVATE = "private"
UNLISTED = "left the listing"
Untold = tuple[tuple[str, HubError], ...]
CHUNK = 64  # repos between two writes to the ledger: what a kill can lose


@dataclass(frozen=True, slots=True)
class Looked:
    """Repos found, tombstones written, and targets that could not be asked about, with the cause."""

    listed: int
    gone: int
    failed: Untold


def bury_missing(home: Home, changes: Changes, target: Target, crawl: str) -> tuple[int, Untold]:
    """After a sweep: ask about every repo of the target that its pages did not show.

    Returns tombstones written, and the repos that the hub could say nothing of: they stay as they are, and the next
    sweep asks again.
    """
    index = home.ledger.index("repos", ["gone"])
    known = {repo for (key, repo), (gone,) in index.columns.items() if key == target.key and gone is None}
    missing = sorted(known - _shown(home, target, crawl))
    gone, untold = 0, list[tuple[str, HubError]]()
    for chunk in chunks(missing, CHUNK):
        rows = {row["repo"]: row for row in index.rows((target.key, repo) for repo in chunk)}
        found = _look_at(home, chunk, untold)
        told = [_after(target, rows[repo], found[repo]) for repo in chunk if repo in found]
        changes.append(told)
        gone += sum(row["gone"] is not None for row in told)
    return gone, tuple(untold)


def look_at_repos(home: Home, changes: Changes, targets: Sequence[Target], advance: Advance) -> Looked:
    """Ask about repos one by one: the present ones go to the ledger, the others get a tombstone if they were there."""
    listed, gone = 0, 0
    failed: list[tuple[str, HubError]] = []
    index = home.ledger.index("repos", ["gone"])
    before: dict[str, list[tuple[str, str]]] = {}
    for key, (was_gone,) in index.columns.items():
        if was_gone is None:
            before.setdefault(key[0], []).append(key)
    for chunk in chunks(targets, CHUNK):
        found = _look_at(home, [target.name for target in chunk], failed)
        for target in [t for t in chunk if t.name in found]:
            there = found[target.name]
            known = list(index.rows(before.get(target.key, ())))
            if isinstance(there, HubRefusal):
                if not known:
                    say(f"{target.key}: {there.cause}")
                changes.append(_after(target, row, there) for row in known)
                gone += len(known)
            else:
                old = [row for row in known if row["repo"] != there.repo]
                changes.append([repo_row(target, there), *(_after(target, row, there) for row in old)])
                listed, gone = listed + 1, gone + len(old)
        advance(len(chunk))
    return Looked(listed, gone, tuple(failed))


def _after(target: Target, row: dict[str, Any], there: RepoListing | HubRefusal) -> dict[str, Any]:
    """The row of a repo that its listing did not show, now that the hub was asked about it."""
    if isinstance(there, HubRefusal):
        return {**row, "gone": REFUSED[there.kind], "gone_to": None}
    if there.repo != row["repo"]:
        return {**row, "gone": RENAMED, "gone_to": there.repo}
    if there.private:
        return repo_row(target, there, PRIVATE)
    belongs = target.kind != "base" or f"base_model:adapter:{target.name}" in there.tags
    return repo_row(target, there, None if belongs else UNLISTED)  # a page may miss what changed while it was turned


def _look_at(
    home: Home, repos: Iterable[str], untold: list[tuple[str, HubError]]
) -> dict[str, RepoListing | HubRefusal]:
    """What the hub says of each repo, several at a time. A repo that it says nothing of goes to `untold`."""
    with ThreadPoolExecutor(home.settings.readers) as pool:
        jobs = {repo: pool.submit(home.hub.look, repo) for repo in repos}
        found = {}
        for repo, job in jobs.items():
            try:
                there = job.result()
            except HubDown:
                pool.shutdown(cancel_futures=True)
                raise
            except HubError as error:
                untold.append((f"repo:{repo}", error))
                continue
            if isinstance(there, HubRefusal) and there.kind not in REFUSED:
                untold.append((f"repo:{repo}", there))
            else:
                found[repo] = there
    return found


def _shown(home: Home, target: Target, crawl: str) -> set[str]:
    """The repos on the pages of a pass; every row counts, for one that notes an error repeats its page's number."""
    rows = home.ledger.where("pages", {"target": target.key, "crawl": crawl}, ["repos"])
    return {repo for row in rows for repo in row["repos"]}
