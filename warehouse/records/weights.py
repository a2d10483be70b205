"""Rows of the ledger's table `weights`: what the check of downloaded weights saw, each adapter's once.

Knows: the columns, what rows of older versions lack. Does not know: how weights are checked (lorauter/adapters), the
rules on them (catalog/rules).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from catalog.rules.table import WeightFacts
from warehouse.ledger.ledger import Ledger


@dataclass(frozen=True, slots=True)
class WeightsRow:
    """The check of one adapter's weights.

    Args:
        adapter: its key.
        facts: what came, as it was kept.
        unsupported: why the engine cannot serve it exactly; None where it can.
        mean_norm: mean over modules of the Frobenius norm of BA, scaling left out; NaN where there is none.
        norms: of BA by module.
    """

    adapter: str
    facts: WeightFacts
    unsupported: str | None
    mean_norm: float | None
    norms: Mapping[str, float]

    def judged_by(self, dora: bool) -> WeightFacts:
        """The facts that the rules take. Rows of older versions looked at no products, and kept their norms.

        Args:
            dora: whether the adapter has magnitudes: those change something even where no product does.
        """
        zero_b = (self.facts.zero_b or self.mean_norm == 0) and not dora
        if self.facts.non_finite or self.mean_norm is None:
            return replace(self.facts, zero_b=zero_b)
        non_finite = ("a product of A and B",) if math.isinf(self.mean_norm) else ()
        return replace(self.facts, non_finite=non_finite, zero_b=zero_b)


class StoredWeights:
    """The checks that the ledger has, and new ones."""

    def __init__(self, ledger: Ledger) -> None:
        self._index = ledger.index("weights")
        self._changes = ledger.changes("weights")

    def __contains__(self, adapter: str) -> bool:
        return (adapter,) in self._index

    def of(self, adapters: Iterable[str]) -> Iterator[WeightsRow]:
        """The checks that were there from the start, of those that had one."""
        return map(_weights_of, self._index.rows((adapter,) for adapter in adapters))

    def add(self, row: WeightsRow) -> None:
        """Write a new check."""
        self._changes.append([_columns(row)])


def _weights_of(row: Mapping[str, Any]) -> WeightsRow:
    facts = WeightFacts(row["size"], row["sha256"], tuple(row["non_finite"]), row["zero_b"])
    norms = {entry["module"]: entry["norm"] for entry in row["norms"] or ()}
    return WeightsRow(row["adapter"], facts, row["unsupported"], row["mean_norm"], norms)


def _columns(row: WeightsRow) -> dict[str, Any]:
    return {
        "adapter": row.adapter,
        "size": row.facts.size,
        "sha256": row.facts.sha256,
        "non_finite": list(row.facts.non_finite),
        "zero_b": row.facts.zero_b,
        "unsupported": row.unsupported,
        "mean_norm": row.mean_norm,
        "norms": [{"module": module, "norm": norm} for module, norm in sorted(row.norms.items())],
    }
