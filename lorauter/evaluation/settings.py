"""Settings of LORAUTER's protocol (arXiv 2601.21795): how much of a query's true task a router may know.

    non-ood    all tasks, all adapters
    semi-ood   the true task's own adapters are gone; its validation data and its place in the index stay
    ood        the true task gets no weight, and its own adapters are gone for every task

A task's own adapters are the declared one and the published one. A task whose published adapter is gone takes its next
best, of whatever origin: an adapter that somebody else trained on the same task, and that neither was declared nor
won, stays in the pool, and makes semi-ood and ood easier than their names say.

Knows: what is taken away, and for whom. Does not know: how a router weighs, what an answer is worth.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache

from lorauter.evaluation.remembering import Remembering
from lorauter.loading import parts_without
from lorauter.routers import RouterParts
from lorauter.routing.routes import Question, Routed, Router, routes_of
from lorauter.routing.task_index import TaskIndex
from warehouse.snapshots.snapshot import Snapshot

NON_OOD, SEMI_OOD, OOD = "non-ood", "semi-ood", "ood"
SETTINGS = (NON_OOD, SEMI_OOD, OOD)


@dataclass(frozen=True, slots=True)
class Asked:
    """The test queries of one task. `prompts`: as they are answered."""

    task: str
    queries: tuple[str, ...]
    prompts: tuple[str, ...]

    @property
    def questions(self) -> list[Question]:
        """The queries with all that is known of them. One input may belong to two tasks, with two prompts."""
        return [Question(text, self.task, prompt) for text, prompt in zip(self.queries, self.prompts, strict=True)]


@dataclass(frozen=True, slots=True)
class SettingRoutes:
    """A router's routes in one setting.

    Args:
        routes: by task, one a query.
        seconds: of all of them, with embedding and fitting, without loading the encoder.
        passes: forward passes of the base that one query's route takes.
    """

    routes: Mapping[str, Sequence[Routed]]
    seconds: float
    passes: float


def own_adapters(index: TaskIndex, task: str) -> frozenset[str]:
    """The declared and the published adapter of a task: none, one or two."""
    place = index.tasks.index(task)
    return frozenset(key for key in (index.declared[place], index.best[place]) if key)


class SettingRouter:
    """Routes test queries in any setting, by any router.

    Args:
        parts: what routers are built from.
        asked: the queries of each task.
    """

    def __init__(self, parts: RouterParts, snapshot: Snapshot, asked: Sequence[Asked]) -> None:
        self._remembered = cache(lambda: Remembering.loaded(parts.encoder))
        self._parts = replace(parts, encoder=self._remembered)
        self._snapshot, self._asked = snapshot, asked
        self._without = cache(self._parts_without)

    def route(self, make: Callable[[RouterParts], Router], setting: str) -> SettingRoutes:
        """The router's routes in a setting. Raises what the router raises."""
        began, owed = time.perf_counter(), self._owed()
        whole = make(self._parts) if setting == NON_OOD else None
        routes, passes = {}, 0.0
        for asked in self._asked:
            router = whole or make(self._without(asked.task))
            masked = [asked.task] * len(asked.queries) if setting == OOD else None
            routes[asked.task] = routes_of(router, asked.questions, masked)
            passes = float(getattr(router, "passes", 0.0))
        return SettingRoutes(routes, time.perf_counter() - began + self._owed() - owed, passes)

    def _parts_without(self, task: str) -> RouterParts:
        return parts_without(self._parts, self._snapshot, own_adapters(self._parts.index, task))

    def _owed(self) -> float:
        return self._remembered().owed if self._remembered.cache_info().currsize else 0.0
