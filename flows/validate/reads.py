"""Reads: config and header of every adapter of the pool that the ledger lacks, many at a time.

Knows: what needs reading, how many requests that takes and how long the hub's windows make it last.
Does not know: rules beyond whether there is anything to read, what the texts mean.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Any

from catalog.adapters.adapter import AdapterId
from catalog.adapters.facts import WEIGHTS_NAME, RawAdapter, gather_facts
from catalog.adapters.parse import Problem
from catalog.bases.base import Base
from catalog.bases.target_modules import expected_header_bytes
from catalog.errors import HubDown, LorauterError
from catalog.hub.client import UNSEEN, Hub
from catalog.rules.table import Policy, judge
from catalog.rules.verdict import UNREACHABLE
from flows.screen.progress import say, stage, waits_told
from warehouse.ledger.ledger import Ledger
from warehouse.records.pool import Member, Pool
from warehouse.records.raw import AdapterRead, ReadProblems, keep_reads

CLOSED = {"hostile_name", "gated", "blocked_author", "no_adapter"}  # nothing to read, or not ours to ask for
FLUSH = 128  # reads between two writes to the ledger: what a kill can lose
GIVE_UP = 100  # reads in a row that trouble spoilt: then it is the hub's, not a file's
AHEAD = 4  # reads handed to each reader beyond the one it is at
_OLD_WORDS = re.compile(r".*: (?:RepositoryNotFound|GatedRepo|DisabledRepo|HfHubHTTP|BadRequest)Error", re.DOTALL)


def read_new(ledger: Ledger, hub: Hub, pool: Pool, bases: Mapping[str, Base], policy: Policy) -> None:
    """Read what the ledger lacks into its table `raw`. A kill loses a few reads, an interrupt none that came back."""
    todo = _Todo(pool, ReadProblems(ledger), policy)
    _say_how_long(hub, todo.requests)
    with stage("validate", todo.adapters, "adapters") as advance, waits_told(hub.transport.budget):
        kept: list[AdapterRead] = []
        in_vain = 0
        try:
            for read in _read_ahead(hub, todo, bases):
                kept.append(read)
                advance(1)
                in_vain = in_vain + 1 if _is_vain(read.raw) else 0
                if in_vain >= GIVE_UP:
                    raise HubDown("The hub answers nothing but errors.", "Try again later; what was read is kept.")
                if len(kept) >= FLUSH:
                    keep_reads(ledger, kept)
                    kept.clear()
        finally:
            keep_reads(ledger, kept)


def _is_vain(raw: RawAdapter) -> bool:
    """Whether trouble spoilt it; that a file is shown to nobody unknown is an answer."""
    return any(p.reason == UNREACHABLE and not p.evidence.endswith(UNSEEN) for p in raw.problems)


def _is_unsettled(problem: Problem) -> bool:
    """Whether another read may bring more. An older version took a 401, and the file host's 403, for good."""
    taken_for_good = problem.reason == "unreadable" and _OLD_WORDS.fullmatch(problem.evidence)
    return problem.reason == UNREACHABLE or bool(taken_for_good)


class _Todo:
    """The members to read, each adapter once; counted first, so that the time they take can be told."""

    def __init__(self, pool: Pool, stored: ReadProblems, policy: Policy) -> None:
        self._pool, self._stored, self._policy = pool, stored, policy
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

    def _is_lacking(self, adapter: AdapterId) -> bool:
        """Whether the ledger has no reads of it, or only word of trouble on the way."""
        problems = self._stored.of(adapter)
        return problems is None or any(map(_is_unsettled, problems))

    def _is_open(self, member: Member) -> bool:
        facts = gather_facts(member.listing, member.id, RawAdapter())
        return not CLOSED & {finding.reason for finding in judge(facts, None, self._policy)}


def _read_ahead(hub: Hub, todo: Iterable[Member], bases: Mapping[str, Base]) -> Iterator[AdapterRead]:
    """Reads as they come back; never more handed out than a few a reader, however many there are."""
    readers = hub.options.readers
    jobs: dict[Future[RawAdapter], AdapterId] = {}
    with ThreadPoolExecutor(readers) as pool:
        try:
            for member in todo:
                expect = _expect(bases.get(member.judged_for))
                jobs[pool.submit(hub.read_adapter, member.listing, member.id, expect)] = member.id
                if len(jobs) >= AHEAD * readers:
                    yield from _done(jobs)
            while jobs:
                yield from _done(jobs)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _done(jobs: dict[Future[RawAdapter], AdapterId]) -> Iterator[AdapterRead]:
    failed: LorauterError | None = None
    for job in wait(jobs, return_when=FIRST_COMPLETED).done:
        adapter = jobs.pop(job)
        try:
            yield AdapterRead(adapter, job.result())
        except LorauterError as error:
            failed = error  # after the others: what came back is kept
    if failed:
        raise failed


def _expect(base: Base | None) -> Callable[[Mapping[str, Any]], int | None] | None:
    """What tells from an adapter's config how long its header will be."""
    return (lambda config: expected_header_bytes(config, base)) if base else None


def _say_how_long(hub: Hub, requests: int) -> None:
    """Tell before the start when the hub's limits alone will make it long."""
    seconds = hub.transport.budget.seconds_for("resolvers", requests)
    if seconds:
        say(f"{requests:,} file requests to make; the hub's limits stretch them over {seconds / 60:.0f} min more.")
