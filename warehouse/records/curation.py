"""Acts of curation in the ledger: a person's pins, bans and notes.

Knows: the rows of the table `curation`. Does not know: which acts hold (catalog/curation).
"""

from __future__ import annotations

from dataclasses import fields

from catalog.curation import Act
from catalog.tasks.task import content_hash
from warehouse.ledger.ledger import Ledger
from warehouse.records.rows import as_rows

_FIELDS = tuple(field.name for field in fields(Act))


def record(ledger: Ledger, act: Act) -> None:
    """Add an act to the ledger."""
    (row,) = as_rows([act])
    ledger.append("curation", [{"act": content_hash([repr(value) for value in row.values()]), **row}])


def acts(ledger: Ledger) -> list[Act]:
    """All acts, oldest first."""
    rows = ledger.read("curation", _FIELDS).to_pylist()
    return sorted((Act(**row) for row in rows), key=lambda act: act.at)
