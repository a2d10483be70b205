"""Crawl: page through a hub's listings into the ledger, as little of them as will do.

Knows: passes (a sweep of every page, an increment down to the watermark), where a killed one goes on.
Does not know: what became of repos that are missing (tombstones), what makes an adapter good (flows/validate).

The listing comes last modified first. An increment stops at the newest change that the pass before it saw. After every
page its repos, then the position, go to the ledger: a killed crawl goes on there, and writes nothing twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from catalog.adapters.facts import RepoListing
from catalog.errors import HubDown, HubError, HubRefusal
from catalog.hub.client import Hub
from catalog.hub.target import Target
from catalog.wanted import Wanted
from flows.crawl.tombstones import bury_missing, look_at_repos
from flows.screen.progress import Advance, say, stage, waits_told
from warehouse.ledger.ledger import Ledger
from warehouse.records.pages import INCREMENT, SWEEP, Pass, Passes
from warehouse.records.repos import RepoChanges, RepoRow

IDLE = 20  # pages in a row that bring nothing new: a listing in a circle, or without an end


@dataclass(frozen=True, slots=True)
class Crawled:
    """What a crawl did: repos listed, tombstones written, and targets whose listing broke off, with the cause."""

    listed: int = 0
    gone: int = 0
    failed: tuple[tuple[str, HubError], ...] = ()

    def __add__(self, other: Crawled) -> Crawled:
        return Crawled(self.listed + other.listed, self.gone + other.gone, self.failed + other.failed)


def crawl(
    ledger: Ledger, hub: Hub, wanted: Wanted, sweep_days: float, full: bool = False, with_bases: bool = True
) -> Crawled:
    """Bring the listings of what is wanted up to date.

    A listing that breaks off for good is recorded and the crawl goes on with the others; so is a repo that the hub
    says nothing of.

    Args:
        sweep_days: days between two sweeps of a target.
        full: by sweeps, whether due or not.
        with_bases: the listings of bases too.

    Raises:
        HubError: the hub cannot be reached or refuses us, or every listing failed.
    """
    repos, passes = RepoChanges(ledger), Passes(ledger)
    targets = [target for target in wanted.targets if with_bases or target.kind != "base"]
    done = Crawled()
    with stage("crawl", unit="repos") as advance, waits_told(hub.transport.budget):
        for target in [t for t in targets if t.kind != "repo"]:
            at = _due(passes, target, full, timedelta(days=sweep_days), target.name in wanted.bases)
            if at is not None:
                done += _Listing(ledger, hub, repos, passes, target).run(at, advance)
        looked = look_at_repos(ledger, hub, repos, [t for t in targets if t.kind == "repo"], advance)
        done += Crawled(looked.listed, looked.gone, looked.failed)
    if targets and not done.listed and {key for key, _ in done.failed} >= {target.key for target in targets}:
        raise done.failed[0][1]
    for key, error in done.failed:
        say(f"{key}: {error.cause} What was listed is kept; the next crawl asks again.")
    return done


def _due(passes: Passes, target: Target, full: bool, every: timedelta, main: bool) -> Pass | None:
    """The pass to run: the broken one, or a new one; None for a side name that had nothing at its last sweep."""
    last, swept = passes.last(target.key), passes.swept(target.key)
    if last is not None and not last.ended and (last.kind == SWEEP or not full):
        return last
    now = datetime.now(UTC)
    name = now.isoformat(timespec="microseconds")
    if last is None or swept is None or full or now - swept > every:
        return Pass(target.key, name, SWEEP)
    if not last.newest and not main:
        return None
    return Pass(target.key, name, INCREMENT, mark=last.newest, newest=last.newest)


@dataclass(frozen=True, slots=True)
class _Listing:
    """The listing of one target, on its way into the ledger."""

    ledger: Ledger
    hub: Hub
    repos: RepoChanges
    passes: Passes
    target: Target

    def run(self, at: Pass, advance: Advance) -> Crawled:
        """Go on with a pass to its end; after a sweep, bury what its pages did not show."""
        listed = gone = 0
        seen, idle, earlier = set[str](), 0, True
        try:
            while not at.listed:
                at, names, broken = self._next_page(at, may_restart=earlier)
                listed += len(names)
                advance(len(names))
                idle, earlier = 0 if set(names) - seen else idle + 1, False
                seen.update(names)
                if broken:
                    raise broken
                if idle >= IDLE and not at.listed:
                    cause = f"{IDLE} pages in a row bring no repo that was not there before."
                    raise HubError(cause, "Check the endpoint.")
            if not at.ended:
                gone, untold = bury_missing(self.ledger, self.hub, self.repos, self.target, at.crawl)
                told = f"{len(untold)} repos could not be asked about, e.g. {untold[0][1].cause}" if untold else None
                self.passes.note(replace(at, page=at.page + 1, ended=True), error=told)
                return Crawled(listed, gone, untold)
        except HubDown:
            raise
        except HubError as error:
            self.passes.note(at, error=error.cause)
            return Crawled(listed, gone, ((self.target.key, error),))
        return Crawled(listed, gone)

    def _next_page(self, at: Pass, may_restart: bool) -> tuple[Pass, list[str], HubError | None]:
        """List one page into the ledger. Returns where the pass stands then, which repos were listed, and why the
        listing breaks off there, if it does.

        Args:
            may_restart: whether the position is of an earlier crawl, and may be too old for the hub.
        """
        try:
            page = self.hub.page(self.target, at.next_url)
        except HubRefusal:
            if at.next_url is None or not may_restart:
                raise
            page = self.hub.page(self.target, None)
        shown = [listing for listing in page.repos if listing.last_modified >= at.mark]
        self.repos.append(RepoRow(self.target.key, listing) for listing in shown)
        listed = page.next_url is None or len(shown) < len(page.repos)
        then = replace(
            at,
            page=at.page + 1,
            next_url=None if listed else page.next_url,
            newest=max([at.newest, *_believable(shown)]),
            ended=listed and at.kind == INCREMENT,
        )
        if page.broken:
            then = at  # its repos are kept; the next crawl asks for the same page
        names = [listing.repo for listing in shown]
        self.passes.note(then, names)
        return then, names, page.broken


def _believable(repos: Sequence[RepoListing]) -> list[str]:
    """Times of change that may move the watermark: one far in the future would hide every change to come."""
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    return [listing.last_modified for listing in repos if listing.last_modified < tomorrow]
