"""Validate: read what is new, judge it from what is stored, download and check what is admitted.

Knows: the order of reads and rules, what a verdict was made from, so that only what changed is judged again.
Does not know: the rules (catalog/rules), how texts are read (read_adapters) or weights (check_downloads).
Every adapter of the pool ends with a verdict: admitted + rejected = seen.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from catalog.adapters.adapter import AdapterId, Finding
from catalog.adapters.facts import AdapterFacts, RawAdapter, gather_facts
from catalog.bases.base import Base
from catalog.bases.names import match_base
from catalog.chunks import chunks
from catalog.curation import Curation, curation_of
from catalog.duplicates import Key, Sound, find_originals
from catalog.rules.profile import profile
from catalog.rules.table import RULES_VERSION, judge
from catalog.tasks.task import content_hash
from flows.crawl.listings import waits_told
from flows.home.home import Home
from flows.screen.progress import stage
from flows.validate.bases import NamedBases, read_base
from flows.validate.downloads import Downloads
from flows.validate.reads import UNREACHABLE, raw_of, read_new
from warehouse.ledger.ledger import Changes, Index
from warehouse.records.curation import acts
from warehouse.records.pool import OWN, Member, Pool

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


def validate(home: Home, download: bool = True) -> Judged:
    """Bring every adapter of the pool to a verdict in the ledger.

    Args:
        download: whether what is admitted is downloaded and checked; else the verdicts rest on config and header.

    Raises HubError where the hub cannot be reached or lacks a base of the run; what was read until then is kept.
    """
    pool = Pool(home.ledger, home.wanted)
    bases = {id_: read_base(home, id_) for id_ in home.wanted.bases if pool.has(id_) or not pool.has(OWN)}
    read_new(home, pool, bases)
    with waits_told(home):
        keys = _Judging(home, bases, download).run(pool)
    return _count(home, tuple(bases.values()), keys)


def verdicts(home: Home, base: Base, columns: Sequence[str] = ()) -> tuple[Index, list[Key]]:
    """The current verdicts for a base, `columns` at hand, and the keys of the adapters that its pool holds now."""
    pool = {member.id.key for member in Pool(home.ledger, home.wanted).members() if member.judged_for in (base.id, OWN)}
    index = home.ledger.index("verdicts", columns, within=base.id)
    return index, sorted(key for key in index if key[:2] == (base.id, base.sha) and key[2] in pool)


class _Judging:
    """One run of the rules over a pool."""

    def __init__(self, home: Home, bases: Mapping[str, Base], download: bool) -> None:
        self._home, self._bases, self._named = home, bases, NamedBases(home)
        self._download = download
        self._changes: Changes = home.ledger.changes("verdicts")
        self._raw: Index = home.ledger.index("raw", ["content"])
        self._stored: Index = home.ledger.index("verdicts", ["inputs", "sound", "sha256", "downloads", "reason"])
        stored = self._stored.columns.items()  # what a base told that could not be read is judged anew
        self._by_inputs = {columns[0]: key for key, columns in stored if columns[-1] != BASE_UNREADABLE}
        self._fresh: dict[Key, dict[str, Any]] = {}  # sound and judged in this run: the download decides
        self._unsound: set[Key] = set()
        self._created: dict[Key, str] = {}  # of what is sound
        self._acts, self._curations = acts(home.ledger), dict[str, Curation]()

    def run(self, pool: Pool) -> list[Key]:
        """Judge what changed, then look at duplicates and weights of what is sound. Returns the pool's verdicts."""
        keys: list[Key] = []
        with stage("judge", unit="adapters") as advance:
            for chunk in chunks(pool.members(), CHUNK):
                keys += self._judge(chunk)
                advance(len(chunk))
        self._finish([key for key in keys if self._is_sound(key)])
        return keys

    def _judge(self, chunk: list[Member]) -> Iterator[Key]:
        inputs = {self._inputs(member): member for member in chunk}
        changed = {digest: member for digest, member in inputs.items() if digest not in self._by_inputs}
        wanted = {(m.id.repo, m.id.path, m.id.sha) for m in changed.values()}
        raw = {AdapterId(r["repo"], r["path"], r["sha"]): raw_of(r) for r in self._raw.rows(wanted)}
        rows = []
        for digest, member in changed.items():
            row = self._verdict(member, raw.get(member.id, RawAdapter())) | {"inputs": digest}
            key = (row["base"], row["base_sha"], row["adapter"])
            self._by_inputs[digest] = key
            if row["sound"]:
                self._fresh[key] = row
            else:
                self._unsound.add(key)
                rows.append(row)
        self._changes.append(rows)
        for digest, member in inputs.items():
            key = self._by_inputs[digest]
            if self._is_sound(key):
                self._created[key] = member.listing.created
            yield key

    def _inputs(self, member: Member) -> str:
        """Hash of all that a verdict before the download is made from."""
        id_, settings = member.id, self._home.settings
        read = self._raw.columns.get((id_.repo, id_.path, id_.sha), ("",))[0]
        base = self._bases.get(member.judged_for)
        run = [base.id, base.sha, base.revision, base.source] if base else sorted(b.sha for b in self._bases.values())
        rules = [RULES_VERSION, repr(settings.policy), sorted(settings.aliases.items())]
        seen = [member.content, member.listing.last_modified]
        return content_hash([member.judged_for, id_.key, seen, read, run, rules], 32)

    def _verdict(self, member: Member, raw: RawAdapter) -> dict[str, Any]:
        """The verdict by every rule before the download."""
        facts = gather_facts(member.listing, member.id, raw)
        match = match_base(facts, tuple(self._bases.values()), self._home.settings.aliases)
        base, problem = self._bases.get(member.judged_for), None
        if base is None and match.base is not None:
            base, problem = self._own_base(match.base, facts)
        findings = judge(facts, base, self._home.settings.policy, match, problem)
        return {
            "base": base.id if base else match.base or "",
            "base_sha": base.sha if base else "",
            **_identity(facts),
            "last_modified": member.listing.last_modified or None,
            **asdict(profile(facts, base, match)),
            "rules_version": RULES_VERSION,
            "sound": not findings,
            "duplicate_of": None,
            "downloaded": False,
            **_outcome(findings),
        }

    def _own_base(self, id_: str, facts: AdapterFacts) -> tuple[Base | None, str | None]:
        """The base that an adapter names; not asked for where the adapter falls without it."""
        if id_ in self._bases:
            return self._bases[id_], None
        if judge(facts, None, self._home.settings.policy):
            return None, None
        return self._named.get(id_)

    def _is_sound(self, key: Key) -> bool:
        if key in self._fresh or key in self._unsound:
            return key in self._fresh
        return bool(self._stored.columns[key][1])

    def _finish(self, sound: list[Key]) -> None:
        """Duplicates are linked, the others downloaded and checked; verdicts that this changes are written."""
        downloads = Downloads(self._home)
        originals = self._originals(sound, downloads)
        for part in chunks(sound, CHUNK):
            rows = {key: self._fresh.pop(key) for key in part if key in self._fresh}
            rows |= {_key(row): row for row in self._stored.rows(key for key in part if key not in rows)}
            found = downloads.findings({key[2]: rows[key] for key in part if originals[key] is None})
            self._changes.append(_final(rows[key], originals[key], found.get(key[2])) for key in part)

    def _originals(self, sound: list[Key], downloads: Downloads) -> dict[Key, str | None]:
        """Whose weights each repeats, None of originals: those are checked by then.

        Who is banned is no original, and not downloaded. Where the hub refuses the weights of an original, the next
        one with the same takes its place; trouble on the way passes, and changes nothing.
        """
        known = [self._sound(key) for key in sound]
        announced = {one.key[2]: one.sha256 for one in known}
        banned = frozenset(key for key in sound if self._is_banned(key))
        barred = banned
        while True:
            originals = find_originals(known, barred)
            new = downloads.lacking(
                key[2] for key in sound if originals[key] is None and key not in banned and self._download
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

    def _sound(self, key: Key) -> Sound:
        created = self._created[key]
        if row := self._fresh.get(key):
            return Sound(key, row["sha256"], row["downloads"], created)
        _, _, sha256, downloads, _ = self._stored.columns[key]
        return Sound(key, sha256, downloads, created)


def _identity(facts: AdapterFacts) -> dict[str, Any]:
    id_ = facts.id
    return {
        "adapter": id_.key,
        "repo": id_.repo,
        "path": id_.path,
        "sha": id_.sha,
        "licence": facts.licence,
        "size": facts.size,
        "sha256": facts.sha256,
        "rank": facts.max_rank,
        "downloads": facts.downloads,
    }


def _outcome(findings: list[Finding]) -> dict[str, Any]:
    reason = findings[0].reason if findings else None
    return {"admitted": not findings, "reason": reason, "findings": [asdict(finding) for finding in findings]}


def _final(row: Mapping[str, Any], original: str | None, found: list[Finding] | None) -> dict[str, Any]:
    """A sound adapter's verdict after duplicates and download."""
    if original is not None:
        found = [Finding("duplicate", f"the weights are those of {original}")]
    downloaded = original is None and found is not None and not any(f.reason == UNREACHABLE for f in found)
    kept = {name: value for name, value in row.items() if name not in ("at", "content")}
    return {**kept, "duplicate_of": original, "downloaded": downloaded, **_outcome(found or [])}


def _key(row: Mapping[str, Any]) -> Key:
    return row["base"], row["base_sha"], row["adapter"]


def _count(home: Home, bases: tuple[Base, ...], keys: list[Key]) -> Judged:
    """Count the pool's verdicts as stored, and check that none is missing."""
    admitted = home.ledger.index("verdicts", ["admitted"]).columns
    missing = [key for key in keys if key not in admitted]
    if missing:
        raise RuntimeError(f"{len(missing)} adapters of {len(keys)} have no verdict, e.g. {missing[0]}")
    return Judged(bases, len(keys), sum(bool(admitted[key][0]) for key in keys))
