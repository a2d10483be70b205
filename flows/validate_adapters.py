"""Validate: read config and header of what is new, judge everything, download and check what is admitted.

Knows: the order of reads and rules, what the ledger already has. Does not know: the rules (catalog/rules).
Every adapter seen ends with a verdict; nothing is judged twice from the network.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict
from itertools import islice
from typing import Any, TypeVar

from catalog.adapter import AdapterId, Finding
from catalog.errors import UnsupportedAdapter
from catalog.facts import WEIGHTS_NAME, AdapterFacts, RawAdapter, RepoListing, gather_facts
from catalog.parse import Problem
from catalog.rules import RULES_VERSION, Base, WeightFacts, find_duplicates, judge, judge_weights
from flows.crawl_hub import listings
from flows.home import Home
from flows.progress import stage

READERS = 8  # concurrent reads; each waits for the network most of the time
_T = TypeVar("_T")
FLUSH = 64  # reads between two writes to the ledger: what a kill can lose


def validate(home: Home) -> Base:
    """Bring every listed adapter to a verdict in the ledger. Returns the base it was judged for."""
    base = read_base(home)
    seen = {id_: listing for listing in listings(home) for id_ in listing.adapters()}
    raw = _read_new(home, base, seen)
    facts = {id_.key: gather_facts(listing, id_, raw.get(id_, RawAdapter())) for id_, listing in seen.items()}
    findings = {key: judge(f, base, home.settings.policy) for key, f in facts.items()}
    duplicates = find_duplicates(f for key, f in facts.items() if not findings[key])
    for key, finding in duplicates.items():
        findings[key].append(finding)
    admitted = [facts[key] for key in sorted(facts) if not findings[key]]
    deep = _check_weights(home, admitted)
    for key, found in deep.items():
        findings[key] += found
    verdicts = [_verdict(base, facts[key], findings[key], key in deep) for key in sorted(facts)]
    home.ledger.changes("verdicts").append(verdicts)
    return base


def read_base(home: Home) -> Base:
    """The base's sha and modules: one API call, and its header from the ledger or one ranged read."""
    settings = home.settings
    sha, _ = home.hub.repo_files(settings.base, settings.base_revision)
    known = next((r for r in home.ledger.current("bases") if (r["base"], r["base_sha"]) == (settings.base, sha)), None)
    if known:
        modules = {m["module"]: (m["d_in"], m["d_out"]) for m in known["modules"]}
        return Base(settings.base, sha, modules)
    base = home.hub.read_base(settings.base, sha)
    rows = [{"module": m, "d_in": i, "d_out": o} for m, (i, o) in sorted(base.modules.items())]
    home.ledger.changes("bases").append([{"base": base.id, "base_sha": base.sha, "modules": rows}])
    return base


def verdicts(home: Home, base: Base) -> list[dict[str, Any]]:
    """The current verdicts of the adapters that are listed now, by key."""
    listed = {id_.key for listing in listings(home) for id_ in listing.adapters()}
    rows = [
        row
        for row in home.ledger.current("verdicts")
        if (row["base"], row["base_sha"]) == (base.id, base.sha) and row["adapter"] in listed
    ]
    return sorted(rows, key=lambda row: row["adapter"])


def _read_new(home: Home, base: Base, seen: Mapping[AdapterId, RepoListing]) -> dict[AdapterId, RawAdapter]:
    """What the ledger has of the adapters' texts, and what it lacks read from the hub."""
    known = {AdapterId(r["repo"], r["path"], r["sha"]): _raw(r) for r in home.ledger.current("raw")}
    new = [id_ for id_ in seen if id_ not in known and _worth_reading(home, base, seen[id_], id_)]
    changes = home.ledger.changes("raw")
    with stage("validate", len(new), "adapters") as advance, ThreadPoolExecutor(READERS) as pool:
        jobs = {pool.submit(home.hub.read_adapter, seen[id_], id_): id_ for id_ in new}
        try:
            for done in _chunks(as_completed(jobs), FLUSH):
                read = {jobs[job]: job.result() for job in done}
                changes.append(_raw_row(id_, raw) for id_, raw in read.items())
                known |= read
                advance(len(read))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return known


def _worth_reading(home: Home, base: Base, listing: RepoListing, id_: AdapterId) -> bool:
    """Whether nothing in the listing alone rejects it: a hostile name, a gate, no config."""
    return not judge(gather_facts(listing, id_, RawAdapter()), base, home.settings.policy)


def _check_weights(home: Home, admitted: Iterable[AdapterFacts]) -> dict[str, list[Finding]]:
    """Download what is admitted and look at the weights; checked ones are judged from the ledger."""
    known = {row["adapter"]: row for row in home.ledger.current("weights")}
    facts = {f.id.key: f for f in admitted}
    new = [key for key in facts if key not in known]
    changes = home.ledger.changes("weights")
    with stage("download", len(new), "adapters") as advance:
        for key in new:
            known[key] = _weights_row(home, key)
            changes.append([known[key]])
            advance(1)
    return {key: _weight_findings(facts[key], known[key]) for key in facts}


def _weights_row(home: Home, key: str) -> dict[str, Any]:
    from lorauter.adapter_weights import read_adapter
    from lorauter.weights_check import check_weights

    folder = home.fetch_adapter(key)
    try:
        read_adapter(folder)
        unsupported = None
    except UnsupportedAdapter as error:
        unsupported = error.cause
    checked = check_weights(folder / WEIGHTS_NAME)
    facts = asdict(checked.facts) | {"non_finite": list(checked.facts.non_finite)}
    return {"adapter": key, **facts, "unsupported": unsupported, "mean_norm": checked.mean_norm}


def _weight_findings(facts: AdapterFacts, row: Mapping[str, Any]) -> list[Finding]:
    weights = WeightFacts(row["size"], row["sha256"], tuple(row["non_finite"]), row["zero_b"])
    unsupported = [Finding("unsupported", row["unsupported"][:500])] if row["unsupported"] else []
    return judge_weights(facts, weights) + unsupported


def _verdict(base: Base, facts: AdapterFacts, findings: list[Finding], downloaded: bool) -> dict[str, Any]:
    return {
        "base": base.id,
        "base_sha": base.sha,
        "adapter": facts.id.key,
        "repo": facts.id.repo,
        "path": facts.id.path,
        "sha": facts.id.sha,
        "admitted": not findings,
        "downloaded": downloaded,
        "reason": findings[0].reason if findings else None,
        "findings": [asdict(finding) for finding in findings],
        "licence": facts.licence,
        "size": facts.size,
        "sha256": facts.sha256,
        "rank": facts.max_rank,
        "modules": len(facts.lora),
        "dora": facts.dora,
        "downloads": facts.downloads,
        "rules_version": RULES_VERSION,
    }


def _raw_row(id_: AdapterId, raw: RawAdapter) -> dict[str, Any]:
    return {**asdict(id_), **asdict(raw), "problems": [asdict(p) for p in raw.problems]}


def _raw(row: Mapping[str, Any]) -> RawAdapter:
    problems = tuple(Problem(p["reason"], p["evidence"]) for p in row["problems"])
    return RawAdapter(row["config"], row["header"], row["size"], row["sha256"], problems)


def _chunks(items: Iterable[_T], size: int) -> Iterator[list[_T]]:
    iterator = iter(items)
    while chunk := list(islice(iterator, size)):
        yield chunk
