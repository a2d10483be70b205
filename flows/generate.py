"""Generate: see that wanted outputs exist in the ledger, shard by shard, here or on workers.

Knows: plans, shards, where they run. Does not know: what outputs are for (scoring, answering).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

from flows.home import Home, open_home
from flows.progress import Advance
from lorauter.routing import Route
from warehouse.plans import Conditions, Work, finish_shard, forget_plan, make_plan, read_shard, texts_of

if TYPE_CHECKING:
    from lorauter.engine import Engine

Reference = dict[str, str]
RunShard = Callable[[Reference, str, int], None]
"""(reference of the home, plan, shard): make that shard. References only: nothing large passes through Prefect."""


def ensure_outputs(
    home: Home, work: Sequence[Work], conditions: Conditions, run: RunShard, advance: Advance
) -> tuple[list[str], int]:
    """The texts of `work` in order, made where the ledger lacks them. Also how many were new."""
    plan = make_plan(home.plans, home.ledger, work, conditions, home.settings.shard_rows)
    new = sum(plan.shards.values())
    advance(len(work) - new)
    for shard, rows in plan.shards.items():
        run(home.reference, plan.name, shard)
        advance(rows)
    forget_plan(home.plans, plan.name)
    return texts_of(home.ledger, work, conditions), new


def run_shard(reference: Reference, plan: str, shard: int) -> None:
    """Make the outputs of one shard and store them. Safe to repeat."""
    home = open_home(**reference)
    rows = read_shard(home.plans, plan, shard)
    first = rows[0]
    engine = _engine(tuple(sorted(reference.items())), first["base"], first["base_sha"], first["dtype"])
    routes = [Route(tuple(zip(row["adapters"], row["weights"], strict=True))) for row in rows]
    prompts = [row["prompt"] for row in rows]
    texts = engine.answer(prompts, routes, [row["max_new_tokens"] for row in rows])
    finish_shard(home.ledger, plan, shard, rows, texts)


@lru_cache(maxsize=1)
def _engine(reference: tuple[tuple[str, str], ...], base: str, base_sha: str, dtype: str) -> Engine:
    """The engine stays loaded from shard to shard."""
    return open_home(**dict(reference), dtype=dtype).engine(base, base_sha)
