"""Shards as runs of a deployment, on any number of workers.

Knows: how a shard is handed to Prefect (references only), when one counts as lost and is handed out again.
Does not know: what is in a shard, how one is made (flows/outputs/outputs).

A worker that is killed leaves its run RUNNING on the server for good. So a shard is done when its fragment of the
ledger exists, and lost when its run has ended without one, or when neither its state nor its heartbeat changes.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from catalog.errors import LorauterError
from flows.screen.progress import say
from warehouse.ledger.ledger import Ledger
from warehouse.plans.heartbeat import heartbeat_name, heartbeats
from warehouse.plans.plan import shard_name
from warehouse.storage.storage import Stamp, Storage

DEPLOYMENT = "score-shard/gpu"
IN_FLIGHT = 64  # runs on the server at a time
TRIES = 3  # of a shard; one that loses its worker as often is to blame itself
PENDING_S = 120.0  # a run that a worker took and never started
_LOOK_S = 1.0


@dataclass(frozen=True, slots=True)
class Workers:
    """The workers of the queue `gpu`.

    Args:
        ledger: where they put outputs.
        plans: where they read shards, and tell that they live.
        settings: all that was set here, for theirs to be alike; no secret, since Prefect keeps it.
        silence_s: without a sign of life for so long, a running shard is lost.
    """

    ledger: Ledger
    plans: Storage
    settings: Mapping[str, Any]
    silence_s: float = 30.0

    def run(self, plan: str, shards: Sequence[int]) -> Iterator[int]:
        """Hand shards to the queue, many at a time; yields each when its outputs are in the ledger.

        Raises LorauterError where a shard was lost or failed TRIES times; what is finished is kept.
        """
        waiting = deque(_Try(plan, shard) for shard in shards)
        running: list[_Try] = []
        while waiting or running:
            while waiting and len(running) < IN_FLIGHT:
                running.append(waiting.popleft().submitted(self.settings))
            time.sleep(_LOOK_S)
            beats = heartbeats(self.plans)  # looked at before the ledger: one that ends in between is done
            done = self.ledger.present("outputs", [one.fragment for one in running])
            for one in list(running):
                if one.fragment in done:
                    running.remove(one)
                    yield one.shard
                elif lost := one.is_lost(self.ledger, beats.get(heartbeat_name(plan, one.shard)), self.silence_s):
                    running.remove(one)
                    waiting.append(one.again(lost))


@dataclass(slots=True)
class _Try:
    """One attempt at a shard: the run on the server that makes it, and its last sign of life by our own clock."""

    plan: str
    shard: int
    number: int = 0
    run: Any = None
    sign: object = None
    since: float = field(default_factory=time.monotonic)

    @property
    def fragment(self) -> str:
        """What the ledger has when it is done."""
        return shard_name(self.plan, self.shard)

    def submitted(self, settings: Mapping[str, Any]) -> _Try:
        """The attempt, handed to the queue."""
        from prefect.deployments import run_deployment

        parameters = {"reference": dict(settings), "plan": self.plan, "shard": self.shard}
        run = run_deployment(DEPLOYMENT, parameters=parameters, timeout=0).id
        return _Try(self.plan, self.shard, self.number + 1, run)

    def is_lost(self, ledger: Ledger, beat: Stamp | None, silence_s: float) -> str:
        """Why it will not end with outputs, or "" while it may."""
        from prefect.client.orchestration import get_client

        with get_client(sync_client=True) as client:
            state = client.read_flow_run(self.run).state
            if state is None or state.is_scheduled():
                return ""
            if state.is_final():
                done = ledger.has("outputs", self.fragment)  # it may have ended since we looked
                return "" if done else f"its run ended as {state.name}: {(state.message or '')[:300]}"
            limit = PENDING_S if state.is_pending() else silence_s
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

    def again(self, lost: str) -> _Try:
        """The next attempt."""
        if self.number >= TRIES:
            raise LorauterError(
                f"Shard {self.shard} of plan {self.plan} was lost {self.number} times, at last because {lost}.",
                "Look at its runs in Prefect, then refresh again: finished shards are kept.",
            )
        say(f"Shard {self.shard} is handed out again: {lost}.")
        return self
