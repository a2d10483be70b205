"""Rows of the ledger's table `verdicts`: one of every adapter and base.

Knows: the columns, which verdicts are current, which of them a pool holds. Does not know: how verdicts come about
(flows/validate), what a verdict says (catalog/rules/verdict).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, fields
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from catalog.adapters.adapter import AdapterId, Finding
from catalog.bases.base import Base
from catalog.duplicates import Key, Sound
from catalog.rules.profile import Profile, RankGroup
from catalog.rules.verdict import Verdict
from catalog.wanted import Wanted
from warehouse.ledger.ledger import Index, Ledger
from warehouse.records.pool import OWN, Pool

if TYPE_CHECKING:
    import pyarrow as pa

_PROFILE = tuple(field.name for field in fields(Profile) if field.name != "ranks")
_LISTS = ("dtypes", "saved_modules")
_OWN = (
    *("base", "base_sha", "licence", "size", "sha256", "rank", "downloads", "last_modified", "rules_version"),
    *("sound", "duplicate_of", "downloaded", "admitted", "reason", "inputs"),
)
"""Columns that are called as the verdict calls them."""


class StoredVerdicts:
    """The current verdicts: at hand what tells whether one still holds, and who repeats whom; the rest when asked."""

    def __init__(self, ledger: Ledger) -> None:
        self._index = ledger.index("verdicts", ["inputs", "sound", "sha256", "downloads", "reason"])

    def by_inputs(self, but: str) -> dict[str, Key]:
        """Hash of what was looked at → the verdict that it came to; verdicts for the reason `but` are left out."""
        return {columns[0]: key for key, columns in self._index.columns.items() if columns[-1] != but}

    def is_sound(self, key: Key) -> bool:
        """Whether every rule before the download passed."""
        return bool(self._index.columns[key][1])

    def sound(self, key: Key, created: str) -> Sound:
        """A sound one, as duplicates are told by; `created`: when its repo was made."""
        sha256, downloads = self._index.columns[key][2:4]
        return Sound(key, sha256, downloads, created)

    def of(self, keys: Iterable[Key]) -> Iterator[Verdict]:
        """The verdicts of those keys, one fragment of the ledger in memory."""
        return map(verdict_of_row, self._index.rows(keys))


class VerdictChanges:
    """Writes what differs from the current verdicts."""

    def __init__(self, ledger: Ledger) -> None:
        self._changes = ledger.changes("verdicts")

    def append(self, verdicts: Iterable[Verdict]) -> None:
        """Write the verdicts that are new or different, as one fragment."""
        self._changes.append(map(row_of_verdict, verdicts))


class PoolVerdicts:
    """The current verdicts for a base, on the adapters that its pool holds now.

    Args:
        keys: of the verdicts, sorted.
        admitted: the adapters that the rules let through, by key.
    """

    def __init__(self, ledger: Ledger, wanted: Wanted, base: Base) -> None:
        self._index, self.keys = _of_pool(ledger, wanted, base, ("admitted",))
        self.admitted = [key[2] for key in self.keys if self._index.columns[key][0]]

    def of(self, keys: Iterable[Key]) -> Iterator[Verdict]:
        """The verdicts of those keys, one fragment of the ledger in memory."""
        return map(verdict_of_row, self._index.rows(keys))

    def tables(self, keys: Iterable[Key]) -> Iterator[pa.Table]:
        """The same as tables, a fragment each: for a snapshot, which keeps them as they are."""
        return self._index.tables(keys)


def admitted_of_pool(ledger: Ledger, wanted: Wanted, base: Base) -> dict[str, bool]:
    """The admitted adapters that the pool of a base holds now, by key, and whether their weights were looked at too."""
    index, keys = _of_pool(ledger, wanted, base, ("admitted", "downloaded"))
    columns = index.columns
    return {key[2]: bool(columns[key][1]) for key in keys if columns[key][0]}


def _of_pool(ledger: Ledger, wanted: Wanted, base: Base, columns: Sequence[str]) -> tuple[Index, list[Key]]:
    """The verdicts for a base, and the keys of those on adapters of its pool."""
    pool = {member.id.key for member in Pool(ledger, wanted).members() if member.judged_for in (base.id, OWN)}
    index = ledger.index("verdicts", columns, within=base.id)
    return index, sorted(key for key in index if key[:2] == (base.id, base.sha) and key[2] in pool)


def verdicts_on(ledger: Ledger, means: Callable[[str], bool], base: str = "") -> list[Verdict]:
    """The current verdicts on the adapters that are meant, the oldest first.

    Args:
        means: whether an adapter is meant, by its key.
        base: one base alone; "" for all.
    """
    index = ledger.index("verdicts", within=base or None)
    keys = [key for key in index if base in ("", key[0]) and means(key[2])]
    return sorted(map(verdict_of_row, index.rows(keys)), key=attrgetter("at"))


def linked_copies(ledger: Ledger) -> list[tuple[str, str]]:
    """Every adapter that repeats another one's weights, and that one, by key."""
    index = ledger.index("verdicts", ["duplicate_of"])
    return [(key[2], original) for key, (original,) in index.columns.items() if original]


def count_admitted(ledger: Ledger, keys: Sequence[Key]) -> int:
    """How many of these verdicts admit. Raises RuntimeError where one of them is not in the ledger."""
    admitted = ledger.index("verdicts", ["admitted"]).columns
    missing = [key for key in keys if key not in admitted]
    if missing:
        raise RuntimeError(f"{len(missing)} adapters of {len(keys)} have no verdict, e.g. {missing[0]}")
    return sum(bool(admitted[key][0]) for key in keys)


def row_of_verdict(verdict: Verdict) -> dict[str, Any]:
    """The columns of a verdict; time and hash are the ledger's."""
    id_, seen = verdict.id, verdict.profile
    return {
        **{name: getattr(verdict, name) for name in _OWN},
        **{name: getattr(seen, name) for name in _PROFILE},
        "ranks": [asdict(group) for group in seen.ranks],
        "adapter": id_.key,
        "repo": id_.repo,
        "path": id_.path,
        "sha": id_.sha,
        "findings": [asdict(finding) for finding in verdict.findings],
    }


def verdict_of_row(row: Mapping[str, Any]) -> Verdict:
    """A stored verdict. Rows of the first version have a thinner profile, and were never sound."""
    ranks = tuple(RankGroup(group["rank"], group["scaling"], group["modules"]) for group in row["ranks"] or ())
    seen: dict[str, Any] = {name: tuple(row[name] or ()) if name in _LISTS else row[name] for name in _PROFILE}
    return Verdict(
        base=row["base"],
        base_sha=row["base_sha"],
        id=AdapterId(row["repo"], row["path"], row["sha"]),
        licence=row["licence"],
        size=row["size"],
        sha256=row["sha256"],
        rank=row["rank"],
        downloads=row["downloads"],
        last_modified=row["last_modified"],
        profile=Profile(ranks=ranks, **seen),
        rules_version=row["rules_version"],
        inputs=row["inputs"] or "",
        sound=bool(row["sound"]),
        findings=tuple(Finding(finding["reason"], finding["evidence"]) for finding in row["findings"] or ()),
        duplicate_of=row["duplicate_of"],
        downloaded=row["downloaded"],
        at=row["at"],
    )
