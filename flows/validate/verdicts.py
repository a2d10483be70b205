"""Validate: read what is new, judge it from what is stored, download and check what is admitted.

Knows: the order of reads and rules, what a verdict was made from, so that only what changed is judged again.
Does not know: the rules (catalog/rules), how texts are read (flows/validate/reads) or weights (downloads).
Every adapter of the pool ends with a verdict: admitted + rejected = seen.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from catalog.adapters.facts import AdapterFacts, RawAdapter, gather_facts
from catalog.bases.base import Base
from catalog.bases.names import match_base
from catalog.chunks import chunks
from catalog.curation import Curation, curation_of
from catalog.duplicates import Key, Sound, find_originals
from catalog.hub.client import Hub
from catalog.rules.table import RULES_VERSION, Policy, judge
from catalog.rules.verdict import Verdict, verdict_of
from catalog.tasks.task import content_hash
from catalog.wanted import Wanted
from flows.screen.progress import stage, waits_told
from flows.validate.bases import NamedBases, read_base
from flows.validate.downloads import Downloads, FetchAdapter
from flows.validate.reads import read_new
from warehouse.ledger.ledger import Ledger
from warehouse.records.curation import acts
from warehouse.records.pool import OWN, Member, Pool
from warehouse.records.raw import StoredReads
from warehouse.records.verdicts import StoredVerdicts, VerdictChanges, count_admitted

BASE_UNREADABLE = "base_unreadable"
CHUNK = 256  # adapters in memory at a time, headers and all


@dataclass(frozen=True, slots=True)
class Judged:
    """What validation came to: the run's bases, and the pool's adapters by verdict."""

    bases: tuple[Base, ...]
    seen: int
    admitted: int

    @property
    def rejected(self) -> int:
        """Adapters with at least one finding."""
        return self.seen - self.admitted


@dataclass(frozen=True, slots=True)
class ValidateOptions:
    """How a run validates.

    Args:
        policy: what the rules hold against an adapter beyond whether it can be run.
        retry_days: days after which a base that could not be had is asked for again.
        download: whether what is admitted is downloaded and checked; else the verdicts rest on config and header.
    """

    policy: Policy
    retry_days: float
    download: bool = True


def validate(ledger: Ledger, hub: Hub, fetch_adapter: FetchAdapter, wanted: Wanted, options: ValidateOptions) -> Judged:
    """Bring every adapter of the pool to a verdict in the ledger.

    Raises HubError where the hub cannot be reached or lacks a base of the run; what was read until then is kept.
    """
    pool = Pool(ledger, wanted)
    bases = {
        id_: read_base(ledger, hub, id_, wanted.revision_of(id_))
        for id_ in wanted.bases
        if pool.has(id_) or not pool.has(OWN)
    }
    read_new(ledger, hub, pool, bases, options.policy)
    with waits_told(hub.transport.budget):
        judging = _Judging(ledger, bases, NamedBases(ledger, hub, options.retry_days), wanted, options.policy)
        keys = judging.judge(pool)
        judging.finish([key for key in keys if judging.is_sound(key)], Downloads(ledger, hub, fetch_adapter), options)
    del judging  # what it holds of a large pool makes room for the count
    return Judged(tuple(bases.values()), len(keys), count_admitted(ledger, keys))


class _Judging:
    """One run of the rules over a pool."""

    def __init__(
        self, ledger: Ledger, bases: Mapping[str, Base], named: NamedBases, wanted: Wanted, policy: Policy
    ) -> None:
        self._bases, self._named, self._aliases, self._policy = bases, named, wanted.aliases, policy
        self._changes = VerdictChanges(ledger)
        self._reads = StoredReads(ledger)
        self._stored = StoredVerdicts(ledger)
        self._by_inputs = self._stored.by_inputs(but=BASE_UNREADABLE)  # a base that could not be read is asked for anew
        self._fresh: dict[Key, Verdict] = {}  # sound and judged in this run: the download decides
        self._unsound: set[Key] = set()
        self._created: dict[Key, str] = {}  # of what is sound
        self._acts, self._curations = acts(ledger), dict[str, Curation]()

    def judge(self, pool: Pool) -> list[Key]:
        """Judge what changed by every rule before the download. Returns the keys of the pool's verdicts."""
        keys: list[Key] = []
        with stage("judge", unit="adapters") as advance:
            for chunk in chunks(pool.members(), CHUNK):
                keys += self._judge(chunk)
                advance(len(chunk))
        return keys

    def _judge(self, chunk: list[Member]) -> Iterator[Key]:
        inputs = {self._inputs(member): member for member in chunk}
        changed = {digest: member for digest, member in inputs.items() if digest not in self._by_inputs}
        raw = {read.id: read.raw for read in self._reads.of(member.id for member in changed.values())}
        rejected = []
        for digest, member in changed.items():
            verdict = self._verdict(member, raw.get(member.id, RawAdapter()), digest)
            self._by_inputs[digest] = verdict.key
            if verdict.sound:
                self._fresh[verdict.key] = verdict
            else:
                self._unsound.add(verdict.key)
                rejected.append(verdict)
        self._changes.append(rejected)
        for digest, member in inputs.items():
            key = self._by_inputs[digest]
            if self.is_sound(key):
                self._created[key] = member.listing.created
            yield key

    def _inputs(self, member: Member) -> str:
        """Hash of all that a verdict before the download is made from."""
        base = self._bases.get(member.judged_for)
        run = [base.id, base.sha, base.revision, base.source] if base else sorted(b.sha for b in self._bases.values())
        rules = [RULES_VERSION, repr(self._policy), sorted(self._aliases.items())]
        seen = [member.content, member.listing.last_modified]
        read = self._reads.content(member.id)
        return content_hash([member.judged_for, member.id.key, seen, read, run, rules], 32)

    def _verdict(self, member: Member, raw: RawAdapter, inputs: str) -> Verdict:
        """The verdict by every rule before the download."""
        facts = gather_facts(member.listing, member.id, raw)
        match = match_base(facts, tuple(self._bases.values()), self._aliases)
        base, problem = self._bases.get(member.judged_for), None
        if base is None and match.base is not None:
            base, problem = self._own_base(match.base, facts)
        findings = judge(facts, base, self._policy, match, problem)
        return verdict_of(facts, base, match, findings, last_modified=member.listing.last_modified, inputs=inputs)

    def _own_base(self, id_: str, facts: AdapterFacts) -> tuple[Base | None, str | None]:
        """The base that an adapter names; not asked for where the adapter falls without it."""
        if id_ in self._bases:
            return self._bases[id_], None
        if judge(facts, None, self._policy):
            return None, None
        return self._named.get(id_)

    def is_sound(self, key: Key) -> bool:
        """Whether every rule before the download passed."""
        if key in self._fresh or key in self._unsound:
            return key in self._fresh
        return self._stored.is_sound(key)

    def finish(self, sound: list[Key], downloads: Downloads, options: ValidateOptions) -> None:
        """Duplicates are linked, the others downloaded and checked; verdicts that this changes are written."""
        originals = self._originals(sound, downloads, options.download)
        for part in chunks(sound, CHUNK):
            verdicts = {key: self._fresh.pop(key) for key in part if key in self._fresh}
            verdicts |= {one.key: one for one in self._stored.of(key for key in part if key not in verdicts)}
            weights = downloads.findings({key[2]: verdicts[key] for key in part if originals[key] is None})
            self._changes.append(verdicts[key].settled(originals[key], weights.get(key[2])) for key in part)

    def _originals(self, sound: list[Key], downloads: Downloads, download: bool) -> dict[Key, str | None]:
        """Whose weights each repeats, None of originals: those are checked by then.

        Who is banned is no original, and not downloaded. Where the hub refuses the weights of an original, the next
        one with the same takes its place; trouble on the way passes, and changes nothing.
        """
        candidates = [self._as_sound(key) for key in sound]
        announced = {one.key[2]: one.sha256 for one in candidates}
        banned = frozenset(key for key in sound if self._is_banned(key))
        barred = banned
        while True:
            originals = find_originals(candidates, barred)
            new = downloads.lacking(
                key[2] for key in sound if originals[key] is None and key not in banned and download
            )
            with stage("download", len(new), "adapters") as advance:
                for chunk in chunks(new, CHUNK):
                    downloads.check({key: announced[key] for key in chunk}, advance)
            refused = {key for key in sound if key[2] in downloads.refused}
            if refused <= barred:
                return originals
            barred |= refused

    def _is_banned(self, key: Key) -> bool:
        base = key[0]
        if base not in self._curations:
            self._curations[base] = curation_of(self._acts, base)
        return self._curations[base].ban(key[2]) is not None

    def _as_sound(self, key: Key) -> Sound:
        """A sound adapter as duplicates are told by."""
        created = self._created[key]
        if verdict := self._fresh.get(key):
            return Sound(key, verdict.sha256, verdict.downloads, created)
        return self._stored.sound(key, created)
