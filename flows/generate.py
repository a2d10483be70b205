"""Generate: see that wanted outputs exist in the ledger, shard by shard, here or on workers.

Knows: plans, shards, where they run. Does not know: what outputs are for (scoring, answering).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from catalog.option_metrics import OptionLogprobs
from flows.home import Home, open_home
from flows.progress import Advance
from lorauter.routing import Route
from warehouse.plans import Conditions, Work, answers_of, finish_shard, forget_plan, make_plan, read_shard

if TYPE_CHECKING:
    from lorauter.engine import Engine

Reference = dict[str, str]
RunShard = Callable[[Reference, str, int], None]
"""(reference of the home, plan, shard): make that shard. References only: nothing large passes through Prefect."""


def ensure_outputs(
    home: Home, work: Sequence[Work], conditions: Conditions, run: RunShard, advance: Advance
) -> tuple[list[str | OptionLogprobs], int]:
    """The answers of `work` in order, made where the ledger lacks them. Also how many were new."""
    plan = make_plan(home.plans, home.ledger, work, conditions, home.settings.shard_rows)
    new = sum(plan.shards.values())
    advance(len(work) - new)
    for shard, rows in plan.shards.items():
        run(home.reference, plan.name, shard)
        advance(rows)
    forget_plan(home.plans, plan.name)
    return answers_of(home.ledger, work, conditions), new


def run_shard(reference: Reference, plan: str, shard: int) -> None:
    """Make the outputs of one shard and store them. Safe to repeat."""
    home = open_home(**reference)
    rows = read_shard(home.plans, plan, shard)
    first = rows[0]
    engine = _engine(tuple(sorted(reference.items())), first["base"], first["base_sha"], first["dtype"])
    finish_shard(home.ledger, plan, shard, rows, _answers(engine, rows))


def _answers(engine: Engine, rows: Sequence[Mapping[str, Any]]) -> list[str | OptionLogprobs]:
    """Texts, or log-probabilities where a row has options, in the order of the rows."""
    answers: dict[int, str | OptionLogprobs] = {}
    for weighs in (False, True):
        chosen = [number for number, row in enumerate(rows) if bool(row["options"]) == weighs]
        prompts = [rows[n]["prompt"] for n in chosen]
        routes = [Route(tuple(zip(rows[n]["adapters"], rows[n]["weights"], strict=True))) for n in chosen]
        made: Sequence[str | OptionLogprobs]
        if weighs:
            made = engine.score_options(prompts, [rows[n]["options"] for n in chosen], routes)
        else:
            made = engine.answer(prompts, routes, [rows[n]["max_new_tokens"] for n in chosen])
        answers |= zip(chosen, made, strict=True)
    return [answers[number] for number in range(len(rows))]


@lru_cache(maxsize=1)
def _engine(reference: tuple[tuple[str, str], ...], base: str, base_sha: str, dtype: str) -> Engine:
    """The engine stays loaded from shard to shard."""
    return open_home(**dict(reference), dtype=dtype).engine(base, base_sha)
