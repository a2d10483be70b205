"""Where shards run: the one place that decides it, for refresh, score, publish, evaluate and batches of answers alike.

Knows: the setting `scoring`, whether a flow runs here already. Does not know: shards (flows/outputs/shards), how
Prefect hands them out (flows/outputs/workers).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from flows.home.home import Home
from flows.outputs.shards import RunShards, run_shard, run_shards
from flows.prefect_runtime.artifacts import within_a_flow_run


def shard_runner(home: Home) -> RunShards:
    """What runs shards: workers, where the settings say so, else this process; in a flow as Prefect's tasks."""
    inside = within_a_flow_run()
    if home.settings.scoring != "workers":
        return _run_as_tasks if inside else run_shards
    if not inside:
        from flows.prefect_runtime.setup import prepare_prefect, start_prefect

        prepare_prefect(home.root)
        start_prefect()
    from flows.outputs.workers import run_shards_on_workers

    return run_shards_on_workers


def _run_as_tasks(home: Home, plan: str, shards: Sequence[int]) -> Iterator[int]:
    """Run shards one after the other as tasks of the flow that runs here; yields each when it is done."""
    from prefect import task
    from prefect.cache_policies import NO_CACHE

    run = task(run_shard, name="score-shard", cache_policy=NO_CACHE)
    for shard in shards:
        run(home, plan, shard)
        yield shard
