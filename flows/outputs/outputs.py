"""Outputs: answers that the ledger has, or that shards of a plan make now.

Knows: plans, how one shard is made, where shards run: in this process, as tasks of a flow, on workers. Does not know:
what outputs are for (scoring, evaluating, answering), how an engine answers (lorauter/answers).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from catalog.tasks.answer import Answer
from flows.outputs.workers import Workers
from flows.prefect_runtime.artifacts import within_a_flow_run
from flows.screen.progress import Advance
from lorauter.answers import answers_or_failures
from lorauter.engine.version import SERVING_VERSION
from warehouse.ledger.ledger import Ledger
from warehouse.plans.heartbeat import beating, heartbeat_name
from warehouse.plans.plan import Conditions, Work, answers_of, finish_shard, forget_plan, make_plan, read_shard
from warehouse.storage.storage import Storage

if TYPE_CHECKING:
    from lorauter.engine.engine import Engine

OpenEngine = Callable[[str, str, str], "Engine"]
"""(base, its commit, dtype) → the engine on it, loaded."""

RunShards = Callable[[str, Sequence[int]], Iterator[int]]
"""(plan, shards): make those shards, in any order, and yield each when its outputs are in the ledger."""


@dataclass(frozen=True, slots=True)
class Outputs:
    """Answers to work, in its order, made where the ledger lacks them.

    Args:
        ledger: what has been answered.
        plans: what is being answered.
        shard_rows: rows of a shard, what a kill can lose.
        run: what runs shards.
    """

    ledger: Ledger
    plans: Storage
    shard_rows: int
    run: RunShards

    def ensure(self, work: Sequence[Work], conditions: Conditions, advance: Advance) -> tuple[list[Answer], int]:
        """The answers of `work` in order. Also how many were new."""
        plan = make_plan(self.plans, self.ledger, work, conditions, self.shard_rows, SERVING_VERSION)
        new = sum(plan.shards.values())
        advance(len(work) - new)
        for number in self.run(plan.name, list(plan.shards)):
            advance(plan.shards[number])
        forget_plan(self.plans, plan.name)
        return answers_of(self.ledger, work, conditions, plan.name), new


def run_shard(ledger: Ledger, plans: Storage, open_engine: OpenEngine, plan: str, number: int) -> None:
    """Make the outputs of one shard and store them, in whatever process this is. Safe to repeat."""
    shard = read_shard(plans, plan, number)
    made_by = shard.conditions
    with beating(plans, heartbeat_name(plan, number)):
        engine = open_engine(made_by.base, made_by.base_sha, made_by.dtype)
        finish_shard(ledger, shard, answers_or_failures(engine, shard.work, made_by.decoding))


def choose_runner(scoring: str, make: Callable[[str, int], None], workers: Workers, prefect_folder: Path) -> RunShards:
    """What runs shards, the one place that decides it: workers, or this process, within a flow as Prefect's tasks.

    Args:
        scoring: the setting, `here` or `workers`.
        make: makes one shard of a plan in this process.
        workers: who makes them elsewhere.
        prefect_folder: where Prefect's own state lies, if no flow runs here yet and one is needed.
    """
    inside = within_a_flow_run()
    if scoring == "workers":
        if not inside:
            from flows.prefect_runtime.setup import prepare_prefect, start_prefect

            prepare_prefect(prefect_folder)
            start_prefect()
        return workers.run

    def one_after_the_other(plan: str, shards: Sequence[int]) -> Iterator[int]:
        run = _as_a_task(make) if inside else make
        for number in shards:
            run(plan, number)
            yield number

    return one_after_the_other


def _as_a_task(make: Callable[[str, int], None]) -> Callable[[str, int], None]:
    """The same as a task of the flow that runs here. It is told names only, so Prefect has no setting to keep."""
    from prefect import task
    from prefect.cache_policies import NO_CACHE

    def score_shard(plan: str, shard: int) -> None:
        make(plan, shard)

    as_task: Callable[[str, int], None] = task(score_shard, name="score-shard", cache_policy=NO_CACHE)
    return as_task
