"""The prompt format of a route: that in which its leading adapter was scored.

Knows: which adapter of a route leads, what a snapshot says of formats. Does not know: what people ask for as a
template, queries, how a format becomes a prompt.
"""

from __future__ import annotations

from collections.abc import Mapping

from catalog.formats.filled import FilledFormat
from lorauter.gates.protocol import GatedRoute
from lorauter.routing.routes import Routed, added_up
from lorauter.routing.task_index import TaskIndex
from warehouse.records.published_tasks import asked_formats
from warehouse.snapshots.snapshot import Snapshot


class RouteFormats:
    """The formats of routes by one base of a snapshot.

    Args:
        snapshot: says in which format each adapter, and the base on each task, was scored.
        index: its tasks of the base, with their published adapters.
    """

    def __init__(self, snapshot: Snapshot, index: TaskIndex) -> None:
        self._formats = asked_formats(snapshot, index.base)
        self._of_adapters = {adapter: format_ for (_, adapter), format_ in self._formats.items() if adapter}
        self._best = dict(zip(index.tasks, index.best, strict=True))

    def of(self, route: Routed, task: str) -> FilledFormat | None:
        """The leader's format; of the base alone, its own on the task. None: the task's template."""
        leader = _leader(route, self._best)
        return self._of_adapters.get(leader) if leader else self._formats.get((task, ""))


def _leader(route: Routed, best: Mapping[str, str]) -> str:
    """The adapter of the largest weight, "" for the base alone; of a gate, the nearest task's that may take part."""
    if isinstance(route, GatedRoute):
        near = (best.get(match.task, "") for match in route.tasks)
        return next((key for key in near if key in route.gate.adapters), "")
    weights = added_up(route.mixture)
    return max(weights, key=lambda key: weights[key]) if weights else ""
