"""Where shards run: the one place that decides it, for refresh, score, publish, evaluate and batches of answers alike.

Knows: the setting `scoring`, whether a flow runs here already. Does not know: shards (flows/generate), how Prefect
hands them out (flows/score_shards).
"""

from __future__ import annotations

from flows.artifacts import within_a_flow_run
from flows.generate import RunShards, run_shards
from flows.home import Home


def shard_runner(home: Home) -> RunShards:
    """What runs shards: workers, where the settings say so, else this process; in a flow as Prefect's tasks."""
    inside = within_a_flow_run()
    if home.settings.scoring != "workers" and not inside:
        return run_shards
    if not inside:
        from flows.prefect_setup import prepare_prefect, start_prefect

        prepare_prefect(home.root)
        start_prefect()
    from flows.score_shards import run_shards_here, run_shards_on_workers

    return run_shards_on_workers if home.settings.scoring == "workers" else run_shards_here
