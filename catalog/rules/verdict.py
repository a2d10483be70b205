"""The verdict on an adapter: what the rules found, and what they looked at.

Knows: how facts and findings make a verdict, what duplicates and the download change in it. Does not know: the rules
themselves, in which order they are asked (flows/validate), where verdicts are kept (warehouse/records/verdicts).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from catalog.adapters.adapter import AdapterId, Finding
from catalog.adapters.facts import AdapterFacts
from catalog.bases.base import Base
from catalog.bases.names import BaseMatch
from catalog.duplicates import Key
from catalog.rules.profile import Profile, profile
from catalog.rules.table import RULES_VERSION

UNREACHABLE = "unreachable"  # a reason: trouble on the way, worth another try


@dataclass(frozen=True, slots=True)
class Verdict:
    """An adapter judged for a base.

    Args:
        base: id of the base, "" where nothing tells it.
        base_sha: its commit, "" where the base was not read.
        id: the adapter.
        licence: as the listing says.
        size: bytes of the weights' file.
        sha256: of the weights' file, as the hub announced it.
        rank: largest rank in the weights' header.
        downloads: of its repo.
        last_modified: of its repo, ISO 8601; None where nobody said, or kept, it.
        profile: what config and header show.
        rules_version: of the rules that judged.
        inputs: hash of all that the rules before the download looked at.
        sound: whether every rule before the download passed.
        findings: every rule that failed, in the order of the rules.
        duplicate_of: key of the adapter whose weights these are too.
        downloaded: whether it came as far as the checks of its weights.
        at: when it was judged; None until it is kept.
    """

    base: str
    base_sha: str
    id: AdapterId
    licence: str | None
    size: int | None
    sha256: str | None
    rank: int
    downloads: int
    last_modified: str | None
    profile: Profile
    rules_version: str
    inputs: str
    sound: bool
    findings: tuple[Finding, ...]
    duplicate_of: str | None = None
    downloaded: bool = False
    at: datetime | None = None

    @property
    def key(self) -> Key:
        """Base, its commit and adapter: there is one verdict of each."""
        return self.base, self.base_sha, self.id.key

    @property
    def admitted(self) -> bool:
        """Whether every rule passed."""
        return not self.findings

    @property
    def reason(self) -> str | None:
        """The first rule that failed."""
        return self.findings[0].reason if self.findings else None

    def settled(self, original: str | None, weights: Sequence[Finding] | None) -> Verdict:
        """The verdict on a sound adapter after duplicates and download.

        Args:
            original: the adapter whose weights it repeats; None where it is the original itself.
            weights: what the download and its checks found; None where nobody looked.
        """
        if original is not None:
            copy = Finding("duplicate", f"the weights are those of {original}")
            return replace(self, duplicate_of=original, downloaded=False, findings=(copy,))
        downloaded = weights is not None and all(finding.reason != UNREACHABLE for finding in weights)
        return replace(self, duplicate_of=None, downloaded=downloaded, findings=tuple(weights or ()))


def verdict_of(
    facts: AdapterFacts,
    base: Base | None,
    match: BaseMatch,
    findings: Sequence[Finding],
    *,
    last_modified: str = "",
    inputs: str = "",
) -> Verdict:
    """The verdict by the rules before the download.

    Args:
        base: the one it was judged for; None where that could not be read.
        match: the base it is made for.
        last_modified: of its repo.
        inputs: hash of all that the rules looked at.
    """
    return Verdict(
        base=base.id if base else match.base or "",
        base_sha=base.sha if base else "",
        id=facts.id,
        licence=facts.licence,
        size=facts.size,
        sha256=facts.sha256,
        rank=facts.max_rank,
        downloads=facts.downloads,
        last_modified=last_modified or None,
        profile=profile(facts, base, match),
        rules_version=RULES_VERSION,
        inputs=inputs,
        sound=not findings,
        findings=tuple(findings),
    )
