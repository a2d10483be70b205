"""Acts of curation in the ledger: a person's pins, bans and notes.

Knows: the rows of the table `curation`. Does not know: which acts hold (catalog/curation).
"""

from __future__ import annotations

from catalog.curation import Act
from catalog.tasks.task import content_hash
from warehouse.ledger.ledger import Ledger


def record(ledger: Ledger, act: Act) -> None:
    """Add an act to the ledger."""
    fields = {name: getattr(act, name) for name in Act.__slots__}
    ledger.append("curation", [{"act": content_hash([repr(value) for value in fields.values()]), **fields}])


def acts(ledger: Ledger) -> list[Act]:
    """All acts, oldest first."""
    return sorted(map(Act.of, ledger.read("curation").to_pylist()), key=lambda act: act.at)
