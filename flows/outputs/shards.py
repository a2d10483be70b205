"""The former door to outputs, for stages that do not take `Outputs` yet. Knows: nothing else."""

from __future__ import annotations

from collections.abc import Sequence

from catalog.tasks.answer import Answer
from flows.outputs.outputs import Outputs
from flows.screen.progress import Advance
from warehouse.plans.plan import Conditions, Work

RunShards = Outputs
"""What stages.py hands to them."""


def ensure_outputs(
    _home: object, work: Sequence[Work], conditions: Conditions, run: Outputs, advance: Advance
) -> tuple[list[Answer], int]:
    """As `Outputs.ensure`."""
    return run.ensure(work, conditions, advance)
