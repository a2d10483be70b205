"""Crawl: page through a hub's listings into the ledger, as little of them as will do.

Knows: passes (a sweep of every page, an increment down to the watermark), where a killed one goes on.
Does not know: what became of repos that are missing (tombstones), what makes an adapter good (validate_adapters).

The listing comes last modified first. An increment stops at the newest change that the pass before it saw. After every
page its repos, then the position, go to the ledger: a killed crawl goes on there, and writes nothing twice.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta

from catalog.adapters.facts import RepoListing
from catalog.errors import HubDown, HubError, HubRefusal
from catalog.hub.target import Target
from flows.crawl.tombstones import bury_missing, look_at_repos
from flows.home.home import Home
from flows.screen.progress import Advance, say, stage
from warehouse.ledger.ledger import Changes, Ledger
from warehouse.ledger.migrations import begin
from warehouse.records.repos import repo_row

SWEEP, INCREMENT = "sweep", "increment"
IDLE = 20  # pages in a row that bring nothing new: a listing in a circle, or without an end


@dataclass(frozen=True, slots=True)
class Crawled:
    """What a crawl did: repos listed, tombstones written, and targets whose listing broke off, with the cause."""

    listed: int = 0
    gone: int = 0
    failed: tuple[tuple[str, HubError], ...] = ()

    def __add__(self, other: Crawled) -> Crawled:
        return Crawled(self.listed + other.listed, self.gone + other.gone, self.failed + other.failed)


@dataclass(frozen=True, slots=True)
class Pass:
    """One pass over a target's listing and where it stands: a row of the ledger's table `pages`.

    Args:
        crawl: name of the pass, its start. page: pages in the ledger. next_url: where it goes on; None before the
            first page and after the last. mark: lastModified where an increment stops. newest: the next one's mark.
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


def crawl(home: Home, full: bool = False, with_bases: bool = True) -> Crawled:
    """Bring the listings of the settings' targets up to date, of the bases too unless told otherwise.

    `full`: by sweeps, whether due or not.

    A listing that breaks off for good is recorded and the crawl goes on with the others; so is a repo that the hub
    says nothing of.

    Raises:
        HubError: the hub cannot be reached or refuses us, or every listing failed.
    """
    begin(home.storage)
    changes, passes = home.ledger.changes("repos"), _Passes(home.ledger)
    done = Crawled()
    targets = [target for target in home.wanted.targets if with_bases or target.kind != "base"]
    with stage("crawl", unit="repos") as advance, waits_told(home):
        for target in [t for t in targets if t.kind != "repo"]:
            done += _crawl_target(home, changes, passes, target, full, advance)
        looked = look_at_repos(home, changes, [t for t in targets if t.kind == "repo"], advance)
        done += Crawled(looked.listed, looked.gone, looked.failed)
    if targets and not done.listed and {key for key, _ in done.failed} >= {target.key for target in targets}:
        raise done.failed[0][1]
    for key, error in done.failed:
        say(f"{key}: {error.cause} What was listed is kept; the next crawl asks again.")
    return done


@contextmanager
def waits_told(home: Home) -> Iterator[None]:
    """Within it, waits for the hub's next window are told to the person, once for all threads that wait."""
    budget, told_until = home.hub.transport.budget, [datetime.min.replace(tzinfo=UTC)]

    def tell(kind: str, seconds: float) -> None:
        now = datetime.now(UTC)
        if now >= told_until[0]:
            told_until[0] = now + timedelta(seconds=seconds)
            say(f"The hub's window for {kind} requests is spent; going on in {seconds:.0f} s.")

    budget.on_wait = tell
    try:
        yield
    finally:
        budget.on_wait = lambda kind, seconds: None


class _Passes:
    """Where every target stands, from the ledger."""

    _columns = ("kind", "next_url", "mark", "newest", "ended", "at")

    def __init__(self, ledger: Ledger) -> None:
        self._pages = ledger.changes("pages")
        self._last: dict[str, Pass] = {}
        self._swept: dict[str, datetime] = {}
        rows = ledger.index("pages", self._columns).columns.items()
        for (target, name, page), (kind, next_url, mark, newest, ended, at) in sorted(rows, key=lambda r: r[1][-1]):
            self._last[target] = Pass(target, name, kind, page, next_url, mark, newest, ended)
            if ended and kind == SWEEP:
                self._swept[target] = at

    def due(self, target: Target, full: bool, every: timedelta, main: bool) -> Pass | None:
        """The pass to run: the broken one, or a new one; None for a side name that had nothing at its last sweep."""
        last, swept = self._last.get(target.key), self._swept.get(target.key)
        if last is not None and not last.ended and (last.kind == SWEEP or not full):
            return last
        now = datetime.now(UTC)
        name = now.isoformat(timespec="microseconds")
        if last is None or swept is None or full or now - swept > every:
            return Pass(target.key, name, SWEEP)
        if not last.newest and not main:
            return None
        return Pass(target.key, name, INCREMENT, mark=last.newest, newest=last.newest)

    def note(self, at: Pass, repos: Sequence[str] = (), error: str | None = None) -> None:
        """Write where a pass stands."""
        self._last[at.target] = at
        self._pages.append([{**asdict(at), "repos": list(repos), "error": error}])


def _crawl_target(
    home: Home, changes: Changes, passes: _Passes, target: Target, full: bool, advance: Advance
) -> Crawled:
    every = timedelta(days=home.settings.sweep_days)
    at = passes.due(target, full, every, target.name in home.wanted.bases)
    if at is None:
        return Crawled()
    listed = gone = 0
    seen, idle, earlier = set[str](), 0, True
    try:
        while not at.listed:
            at, repos, broken = _next_page(home, changes, passes, at, target, may_restart=earlier)
            listed += len(repos)
            advance(len(repos))
            idle, earlier = 0 if set(repos) - seen else idle + 1, False
            seen.update(repos)
            if broken:
                raise broken
            if idle >= IDLE and not at.listed:
                raise HubError(f"{IDLE} pages in a row bring no repo that was not there before.", "Check the endpoint.")
        if not at.ended:
            gone, untold = bury_missing(home, changes, target, at.crawl)
            told = f"{len(untold)} repos could not be asked about, e.g. {untold[0][1].cause}" if untold else None
            passes.note(replace(at, page=at.page + 1, ended=True), error=told)
            return Crawled(listed, gone, untold)
    except HubDown:
        raise
    except HubError as error:
        passes.note(at, error=error.cause)
        return Crawled(listed, gone, ((target.key, error),))
    return Crawled(listed, gone)


def _next_page(
    home: Home, changes: Changes, passes: _Passes, at: Pass, target: Target, may_restart: bool
) -> tuple[Pass, list[str], HubError | None]:
    """List one page into the ledger. Returns where the pass stands then, which repos were listed, and why the
    listing breaks off there, if it does.

    `may_restart`: whether the position is of an earlier crawl, and may be too old for the hub.
    """
    try:
        page = home.hub.page(target, at.next_url)
    except HubRefusal:
        if at.next_url is None or not may_restart:
            raise
        page = home.hub.page(target, None)
    repos = [listing for listing in page.repos if listing.last_modified >= at.mark]
    changes.append(repo_row(target, listing) for listing in repos)
    listed = page.next_url is None or len(repos) < len(page.repos)
    then = replace(
        at,
        page=at.page + 1,
        next_url=None if listed else page.next_url,
        newest=max([at.newest, *_believable(repos)]),
        ended=listed and at.kind == INCREMENT,
    )
    if page.broken:
        then = at  # its repos are kept; the next crawl asks for the same page
    names = [listing.repo for listing in repos]
    passes.note(then, names)
    return then, names, page.broken


def _believable(repos: Sequence[RepoListing]) -> list[str]:
    """Times of change that may move the watermark: one far in the future would hide every change to come."""
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    return [listing.last_modified for listing in repos if listing.last_modified < tomorrow]
