"""Reads: config and header of every adapter of the pool that the ledger lacks, many at a time.

Knows: what needs reading, how many requests that takes and how long the hub's windows make it last.
Does not know: rules beyond whether there is anything to read, what the texts mean.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import asdict
from typing import Any

from catalog.adapters.adapter import AdapterId
from catalog.adapters.facts import WEIGHTS_NAME, RawAdapter, gather_facts
from catalog.adapters.parse import Problem
from catalog.bases.base import Base
from catalog.bases.target_modules import expected_header_bytes
from catalog.errors import HubDown, LorauterError
from catalog.hub.client import UNSEEN
from catalog.rules.table import judge
from flows.crawl.listings import waits_told
from flows.home.home import Home
from flows.screen.progress import say, stage
from warehouse.ledger.ledger import Index
from warehouse.records.pool import Member, Pool

UNREACHABLE = "unreachable"  # trouble on the way, worth another try
CLOSED = {"hostile_name", "gated", "blocked_author", "no_adapter"}  # nothing to read, or not ours to ask for
FLUSH = 128  # reads between two writes to the ledger: what a kill can lose
GIVE_UP = 100  # reads in a row that trouble spoilt: then it is the hub's, not a file's
AHEAD = 4  # reads handed to each reader beyond the one it is at
_OLD_WORDS = re.compile(r".*: (?:RepositoryNotFound|GatedRepo|DisabledRepo|HfHubHTTP|BadRequest)Error", re.DOTALL)
_Read = tuple[AdapterId, RawAdapter]


def read_new(home: Home, pool: Pool, bases: Mapping[str, Base]) -> None:
    """Read what the ledger lacks into its table `raw`. A kill loses a few reads, an interrupt none that came back."""
    known = home.ledger.index("raw", ["problems"])
    todo = _Todo(home, pool, known)
    _say_how_long(home, todo)
    with stage("validate", todo.adapters, "adapters") as advance, waits_told(home):
        kept: list[_Read] = []
        in_vain = 0
        try:
            for read in _read_ahead(home, todo, bases):
                kept.append(read)
                advance(1)
                in_vain = in_vain + 1 if _is_vain(read[1]) else 0
                if in_vain >= GIVE_UP:
                    raise HubDown("The hub answers nothing but errors.", "Try again later; what was read is kept.")
                if len(kept) >= FLUSH:
                    _keep(home, kept)
        finally:
            _keep(home, kept)


def _is_vain(raw: RawAdapter) -> bool:
    """Whether trouble spoilt it; that a file is shown to nobody unknown is an answer."""
    return any(p.reason == UNREACHABLE and not p.evidence.endswith(UNSEEN) for p in raw.problems)


def _is_unsettled(problem: Mapping[str, str]) -> bool:
    """Whether another read may bring more. An older version took a 401, and the file host's 403, for good."""
    taken_for_good = problem["reason"] == "unreadable" and _OLD_WORDS.fullmatch(problem["evidence"])
    return problem["reason"] == UNREACHABLE or bool(taken_for_good)


def raw_of(row: Mapping[str, Any]) -> RawAdapter:
    """A row of the table `raw` as the reads that it came from."""
    problems = tuple(Problem(p["reason"], p["evidence"]) for p in row["problems"])
    return RawAdapter(row["config"], row["header"], row["size"], row["sha256"], problems)


class _Todo:
    """The members to read, each adapter once; counted first, so that the time they take can be told."""

    def __init__(self, home: Home, pool: Pool, known: Index) -> None:
        self._home, self._pool, self._known = home, pool, known
        self.adapters = self.requests = 0
        for member in self:
            self.adapters += 1
            self.requests += 1 + (WEIGHTS_NAME in member.listing.files_in(member.id.path))

    def __iter__(self) -> Iterator[Member]:
        seen: set[AdapterId] = set()
        for member in self._pool.members():
            if member.id not in seen and self._is_lacking(member.id) and self._is_open(member):
                seen.add(member.id)
                yield member

    def _is_lacking(self, id_: AdapterId) -> bool:
        """Whether the ledger has no reads of it, or only word of trouble on the way."""
        key = (id_.repo, id_.path, id_.sha)
        return key not in self._known or any(_is_unsettled(problem) for problem in self._known.columns[key][0])

    def _is_open(self, member: Member) -> bool:
        facts = gather_facts(member.listing, member.id, RawAdapter())
        return not CLOSED & {found.reason for found in judge(facts, None, self._home.settings.policy)}


def _read_ahead(home: Home, todo: Iterable[Member], bases: Mapping[str, Base]) -> Iterator[_Read]:
    """Reads as they come back; never more handed out than a few a reader, however many there are."""
    ahead = AHEAD * home.settings.readers
    jobs: dict[Future[RawAdapter], AdapterId] = {}
    with ThreadPoolExecutor(home.settings.readers) as pool:
        try:
            for member in todo:
                expect = _expect(bases.get(member.judged_for))
                jobs[pool.submit(home.hub.read_adapter, member.listing, member.id, expect)] = member.id
                if len(jobs) >= ahead:
                    yield from _done(jobs)
            while jobs:
                yield from _done(jobs)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _done(jobs: dict[Future[RawAdapter], AdapterId]) -> Iterator[_Read]:
    finished, _ = wait(jobs, return_when=FIRST_COMPLETED)
    failed: LorauterError | None = None
    for job in finished:
        id_ = jobs.pop(job)
        try:
            yield id_, job.result()
        except LorauterError as error:
            failed = error  # after the others: what came back is kept
    if failed:
        raise failed


def _expect(base: Base | None) -> Callable[[Mapping[str, Any]], int | None] | None:
    return (lambda config: expected_header_bytes(config, base)) if base else None


def _keep(home: Home, kept: list[_Read]) -> None:
    home.ledger.stamp("raw", [_row(id_, raw) for id_, raw in kept])
    kept.clear()


def _row(id_: AdapterId, raw: RawAdapter) -> dict[str, Any]:
    return {**asdict(id_), **asdict(raw), "problems": [asdict(p) for p in raw.problems]}


def _say_how_long(home: Home, todo: _Todo) -> None:
    """Tell before the start when the hub's limits alone will make it long."""
    seconds = home.hub.transport.budget.seconds_for("resolvers", todo.requests)
    if seconds:
        say(f"{todo.requests:,} file requests to make; the hub's limits stretch them over {seconds / 60:.0f} min more.")
