"""What a stage asks for answers: whoever stands behind it takes them from the ledger, or makes them.

Knows: what goes in and what comes out. Does not know: shards, engines, where they run (flows/outputs).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from catalog.tasks.answer import Answer
from flows.screen.progress import Advance
from warehouse.plans.plan import Conditions, Work

MakeAnswers = Callable[[Sequence[Work], Conditions, Advance], tuple[list[Answer], int]]
"""(work, conditions, advance): the answers of the work, in its order, and how many of them are new."""
