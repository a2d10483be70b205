"""Rows of the ledger's table `raw`: what the two reads of an adapter brought, as text.

Knows: the columns, which adapters were read. Does not know: how they are read (flows/validate/reads), what texts mean.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from catalog.adapters.adapter import AdapterId
from catalog.adapters.facts import RawAdapter
from catalog.adapters.parse import Problem
from warehouse.ledger.ledger import Ledger


@dataclass(frozen=True, slots=True)
class AdapterRead:
    """The reads of one adapter."""

    id: AdapterId
    raw: RawAdapter


class StoredReads:
    """The current reads of every adapter: the hash of each at hand, the texts read when asked for."""

    def __init__(self, ledger: Ledger) -> None:
        self._index = ledger.index("raw", ["content"])

    def __contains__(self, adapter: AdapterId) -> bool:
        return _key(adapter) in self._index

    def content(self, adapter: AdapterId) -> str | None:
        """Hash of what was read of an adapter; "" where nothing was."""
        content: str | None = self._index.columns.get(_key(adapter), ("",))[0]
        return content

    def of(self, adapters: Iterable[AdapterId]) -> Iterator[AdapterRead]:
        """What was read of those that were read, one fragment of the ledger in memory."""
        for row in self._index.rows({_key(adapter) for adapter in adapters}):
            raw = RawAdapter(row["config"], row["header"], row["size"], row["sha256"], _problems(row["problems"]))
            yield AdapterRead(AdapterId(row["repo"], row["path"], row["sha"]), raw)


class ReadProblems:
    """The problems that were met with every adapter that was read."""

    def __init__(self, ledger: Ledger) -> None:
        self._index = ledger.index("raw", ["problems"])

    def of(self, adapter: AdapterId) -> tuple[Problem, ...] | None:
        """The problems met with an adapter; None where it was never read."""
        columns = self._index.columns.get(_key(adapter))
        return None if columns is None else _problems(columns[0])


def keep_reads(ledger: Ledger, reads: Iterable[AdapterRead]) -> None:
    """Write reads as one fragment."""
    ledger.stamp("raw", [{**asdict(read.id), **asdict(read.raw)} for read in reads])


def _key(adapter: AdapterId) -> tuple[str, str, str]:
    return adapter.repo, adapter.path, adapter.sha


def _problems(stored: Iterable[Mapping[str, Any]]) -> tuple[Problem, ...]:
    return tuple(Problem(problem["reason"], problem["evidence"]) for problem in stored)
