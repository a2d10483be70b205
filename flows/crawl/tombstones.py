"""Tombstones: what became of repos that a listing no longer shows; and repos asked for one by one.

Knows: how to ask the hub about one repo, the words for what became of it. Does not know: listings (listings).
A repo that is gone keeps its rows and gets one more, with the reason and the date: nothing disappears in silence.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from catalog.adapters.facts import RepoListing
from catalog.chunks import chunks
from catalog.errors import HubDown, HubError, HubRefusal
from catalog.hub.client import Hub
from catalog.hub.target import Target
from flows.screen.progress import Advance, say
from warehouse.ledger.ledger import Ledger
from warehouse.records.pages import shown_repos
from warehouse.records.repos import RepoChanges, RepoKey, RepoRow, Repos

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
    """Repos that are there, tombstones written, and targets that could not be asked about, with the cause."""

    listed: int
    gone: int
    failed: Untold


def bury_missing(ledger: Ledger, hub: Hub, changes: RepoChanges, target: Target, crawl: str) -> tuple[int, Untold]:
    """After a sweep: ask about every repo of the target that its pages did not show.

    Returns tombstones written, and the repos that the hub could say nothing of: they stay as they are, and the next
    sweep asks again.
    """
    repos = Repos(ledger)
    before = {repo for key, repo in repos.listed() if key == target.key}
    missing = sorted(before - shown_repos(ledger, target.key, crawl))
    gone, untold = 0, list[tuple[str, HubError]]()
    for chunk in chunks(missing, CHUNK):
        rows = {row.listing.repo: row for row in repos.rows((target.key, repo) for repo in chunk)}
        answers = _look_at(hub, chunk, untold)
        told = [_after(target, rows[repo], answers[repo]) for repo in chunk if repo in answers]
        changes.append(told)
        gone += sum(row.gone is not None for row in told)
    return gone, tuple(untold)


def look_at_repos(
    ledger: Ledger, hub: Hub, changes: RepoChanges, targets: Sequence[Target], advance: Advance
) -> Looked:
    """Ask about repos one by one: the present ones go to the ledger, the others get a tombstone if they were there."""
    listed = gone = 0
    failed: list[tuple[str, HubError]] = []
    repos = Repos(ledger)
    before: dict[str, list[RepoKey]] = {}
    for key in repos.listed():
        before.setdefault(key[0], []).append(key)
    for chunk in chunks(targets, CHUNK):
        answers = _look_at(hub, [target.name for target in chunk], failed)
        for target in [t for t in chunk if t.name in answers]:
            there = answers[target.name]
            rows = list(repos.rows(before.get(target.key, ())))
            if isinstance(there, HubRefusal):
                if not rows:
                    say(f"{target.key}: {there.cause}")
                changes.append(_after(target, row, there) for row in rows)
                gone += len(rows)
            else:
                old = [row for row in rows if row.listing.repo != there.repo]
                changes.append([RepoRow(target.key, there), *(_after(target, row, there) for row in old)])
                listed, gone = listed + 1, gone + len(old)
        advance(len(chunk))
    return Looked(listed, gone, tuple(failed))


def _after(target: Target, row: RepoRow, there: RepoListing | HubRefusal) -> RepoRow:
    """The row of a repo that its listing did not show, now that the hub was asked about it."""
    if isinstance(there, HubRefusal):
        return row.buried(REFUSED[there.kind])
    if there.repo != row.listing.repo:
        return row.buried(RENAMED, there.repo)
    if there.private:
        return RepoRow(target.key, there, PRIVATE)
    belongs = target.kind != "base" or f"base_model:adapter:{target.name}" in there.tags
    return RepoRow(target.key, there, None if belongs else UNLISTED)  # a page may miss what changed while it was turned


def _look_at(hub: Hub, repos: Iterable[str], untold: list[tuple[str, HubError]]) -> dict[str, RepoListing | HubRefusal]:
    """What the hub says of each repo, several at a time. A repo that it says nothing of goes to `untold`."""
    with ThreadPoolExecutor(hub.options.readers) as pool:
        jobs = {repo: pool.submit(hub.look, repo) for repo in repos}
        answers = {}
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
                answers[repo] = there
    return answers
