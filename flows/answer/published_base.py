"""One base of a published snapshot, with what routing to its adapters needs.

Knows: which parts travel together. Does not know: how each is opened (flows/stages).
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

from lorauter.routing.routes import Router, RouterOptions
from lorauter.routing.task_index import TaskIndex
from warehouse.snapshots.snapshot import Snapshot

OpenRouter = Callable[[str, Collection[str]], Router]
"""(name, gone): a router of that name that uses none of the adapters that can no longer be had."""


@dataclass(frozen=True, slots=True)
class PublishedBase:
    """A base of a snapshot, and who gives its routers and files.

    Args:
        snapshot: the catalog that was published.
        index: its tasks of the base, with their published adapters.
        routing: the routers' constants and filters.
        open_router: opens a router over the snapshot.
        fetch_adapter: adapter key → folder of its files, downloaded if need be.
        fetch_base: gives the folder of the base's files, downloaded if need be.
    """

    snapshot: Snapshot
    index: TaskIndex
    routing: RouterOptions
    open_router: OpenRouter
    fetch_adapter: Callable[[str], Path]
    fetch_base: Callable[[], Path]
