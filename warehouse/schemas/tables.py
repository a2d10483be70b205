"""Where the tables were declared before they had files of their own; it goes with the last import of it.

Knows: their new places. Does not know: columns.
"""

from __future__ import annotations

from warehouse.schemas.answers import EVALUATION_ITEMS
from warehouse.schemas.columns import table_of
from warehouse.schemas.ledger import LEDGER, RUNS
from warehouse.schemas.snapshot import SNAPSHOT

__all__ = ["EVALUATION_ITEMS", "LEDGER", "RUNS", "SNAPSHOT", "table_of"]
