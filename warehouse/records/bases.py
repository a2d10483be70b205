"""Rows of the ledger's table `bases`: the modules of a base at a commit, or why they cannot be known.

Knows: the columns, what rows of older versions lack. Does not know: how a base is read (flows/validate/bases).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from catalog.bases.base import Base
from warehouse.ledger.ledger import Ledger


@dataclass(frozen=True, slots=True)
class BaseRow:
    """What is known of a base.

    Args:
        id: of the base.
        base: its modules at a commit; None where there is a problem. Its `source` is "" in rows of the first
            version, which do not say where modules came from.
        problem: why its modules cannot be known.
        at: when it was read.
    """

    id: str
    base: Base | None
    problem: str | None = None
    at: datetime = field(default_factory=lambda: datetime.now(UTC))

    @property
    def sha(self) -> str:
        """Its commit; "" where there is a problem."""
        return self.base.sha if self.base else ""


class BaseChanges:
    """Writes what differs from the current rows."""

    def __init__(self, ledger: Ledger) -> None:
        self._changes = ledger.changes("bases")

    def append(self, row: BaseRow) -> None:
        """Write a row, if it is new or different."""
        self._changes.append([_columns(row)])


def known_bases(ledger: Ledger) -> list[BaseRow]:
    """The current row of every base and commit, by both."""
    return sorted(map(_base_of, ledger.index("bases").rows()), key=lambda row: (row.id, row.sha))


def _base_of(row: Mapping[str, Any]) -> BaseRow:
    if row["problem"] is not None:
        return BaseRow(row["base"], None, row["problem"], row["at"])
    modules, embeddings = _shapes_of(row["modules"]), _shapes_of(row["embeddings"])
    base = Base(row["base"], row["base_sha"], modules, embeddings, row["source"] or "")
    return BaseRow(row["base"], base, None, row["at"])


def _columns(row: BaseRow) -> dict[str, Any]:
    return {
        "base": row.id,
        "base_sha": row.sha,
        "modules": _shapes(row.base.modules) if row.base else [],
        "embeddings": _shapes(row.base.embeddings) if row.base else [],
        "source": row.base.source if row.base else None,
        "problem": row.problem,
    }


def _shapes_of(stored: list[dict[str, Any]] | None) -> dict[str, tuple[int, int]]:
    return {shape["module"]: (shape["d_in"], shape["d_out"]) for shape in stored or ()}


def _shapes(modules: Mapping[str, tuple[int, int]]) -> list[dict[str, Any]]:
    return [{"module": name, "d_in": d_in, "d_out": d_out} for name, (d_in, d_out) in sorted(modules.items())]
