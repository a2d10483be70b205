"""Shards as runs of a deployment, on any number of workers.

Knows: how a shard is handed to Prefect (references only), when one counts as lost and is handed out again.
Does not know: what is in a shard (flows/outputs/shards).

A worker that is killed leaves its run RUNNING on the server for good. So a shard is done when its fragment of the
ledger exists, and lost when its run has ended without one, or when neither its state nor its heartbeat changes.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from catalog.errors import LorauterError
from flows.home.home import Home
from flows.screen.progress import say
from warehouse.plans.heartbeat import heartbeat_name, heartbeats
from warehouse.plans.plan import shard_name
from warehouse.storage.storage import Stamp

DEPLOYMENT = "score-shard/gpu"
IN_FLIGHT = 64  # runs on the server at a time
TRIES = 3  # of a shard; one that loses its worker as often is to blame itself
LEASE_S = 30.0  # without a heartbeat, a running shard is lost
PENDING_S = 120.0  # a run that a worker took and never started
_LOOK_S = 1.0


def run_shards_on_workers(home: Home, plan: str, shards: Sequence[int]) -> Iterator[int]:
    """Hand shards to the work queue `gpu`, many at a time; yields each when its outputs are in the ledger.

    Raises LorauterError where a shard was lost or failed TRIES times; what is finished is kept.
    """
    waiting = deque(_Try(shard) for shard in shards)
    running: list[_Try] = []
    while waiting or running:
        while waiting and len(running) < IN_FLIGHT:
            running.append(waiting.popleft().submitted(home, plan))
        time.sleep(_LOOK_S)
        beats = heartbeats(home.plans)  # looked at before the ledger: one that ends in between is done
        done = home.ledger.present("outputs", [shard_name(plan, one.shard) for one in running])
        for one in list(running):
            if shard_name(plan, one.shard) in done:
                running.remove(one)
                yield one.shard
            elif lost := one.is_lost(home, plan, beats.get(heartbeat_name(plan, one.shard))):
                running.remove(one)
                waiting.append(one.again(plan, lost))


@dataclass(slots=True)
class _Try:
    """One attempt at a shard: the run on the server that makes it, and its last sign of life by our own clock."""

    shard: int
    number: int = 0
    run: Any = None
    sign: object = None
    since: float = field(default_factory=time.monotonic)

    def submitted(self, home: Home, plan: str) -> _Try:
        """The attempt, handed to the queue."""
        from prefect.deployments import run_deployment

        parameters = {"reference": home.worker_reference, "plan": plan, "shard": self.shard}
        return _Try(self.shard, self.number + 1, run_deployment(DEPLOYMENT, parameters=parameters, timeout=0).id)

    def is_lost(self, home: Home, plan: str, beat: Stamp | None) -> str:
        """Why it will not end with outputs, or "" while it may."""
        from prefect.client.orchestration import get_client

        with get_client(sync_client=True) as client:
            state = client.read_flow_run(self.run).state
            if state is None or state.is_scheduled():
                return ""
            if state.is_final():
                done = home.ledger.has("outputs", shard_name(plan, self.shard))  # it may have ended since we looked
                return "" if done else f"its run ended as {state.name}: {(state.message or '')[:300]}"
            limit = PENDING_S if state.is_pending() else LEASE_S
            if self._silence((state.type, beat)) <= limit:
                return ""
            from prefect.states import Crashed

            # So that it no longer holds a place in the queue's limit.
            client.set_flow_run_state(self.run, Crashed(message="The worker fell silent."), force=True)
        return f"its worker fell silent for {limit:.0f} s"

    def _silence(self, sign: object) -> float:
        """Seconds since the sign last changed. Nothing is compared with the clock of another machine."""
        if sign != self.sign:
            self.sign, self.since = sign, time.monotonic()
        return time.monotonic() - self.since

    def again(self, plan: str, lost: str) -> _Try:
        """The next attempt."""
        if self.number >= TRIES:
            raise LorauterError(
                f"Shard {self.shard} of plan {plan} was lost {self.number} times, at last because {lost}.",
                "Look at its runs in Prefect, then refresh again: finished shards are kept.",
            )
        say(f"Shard {self.shard} is handed out again: {lost}.")
        return self
