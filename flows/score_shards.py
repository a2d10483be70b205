"""The flow `score-shard`: one shard of a plan, on the worker that takes it.

Knows: what it is called with. Does not know: who hands shards out (flows/outputs/workers), what is in one.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from prefect import flow

from flows.home.home import open_home
from flows.home.parts import ledger_of, loaded_engine, plans_of
from flows.outputs.outputs import run_shard


@flow(name="score-shard", persist_result=False, validate_parameters=False)
def score_shard(reference: dict[str, Any], plan: str, shard: int) -> None:
    """Make and store the outputs of one shard of a plan. Safe to run again.

    Args:
        reference: the settings of whoever made the plan. They have no token: that is the worker's own.
        plan: its name.
        shard: number of the shard.
    """
    home = open_home(**reference)
    run_shard(ledger_of(home), plans_of(home), partial(loaded_engine, home), plan, shard)
