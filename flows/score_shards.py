"""The flow `score-shard` and the task of the same name: one shard of outputs, here or on a worker.

Knows: how a shard is handed to Prefect (references only). Does not know: what is in it (flows/generate).
"""

from __future__ import annotations

from prefect import flow, task
from prefect.cache_policies import NO_CACHE

from catalog.errors import LorauterError
from flows.generate import Reference, run_shard

DEPLOYMENT = "score-shard/gpu"

run_shard_here = task(run_shard, name="score-shard", cache_policy=NO_CACHE)


@flow(name="score-shard", persist_result=False, validate_parameters=False)
def score_shard(reference: Reference, plan: str, shard: int) -> None:
    """Make and store the outputs of one shard of a plan. Safe to run again."""
    run_shard(reference, plan, shard)


def run_shard_on_worker(reference: Reference, plan: str, shard: int) -> None:
    """Run one shard as a deployment on the work queue `gpu` and wait for it."""
    from prefect.deployments import run_deployment

    run = run_deployment(DEPLOYMENT, parameters={"reference": reference, "plan": plan, "shard": shard})
    if run.state is None or not run.state.is_completed():
        raise LorauterError(
            f"Shard {shard} of plan {plan} ended as {run.state} on its worker.",
            "Look at the run's logs in Prefect, then refresh again: finished shards are kept.",
        )
