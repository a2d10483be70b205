"""Trained states of a snapshot: found by the router's name, checked against the catalog.

Knows: which files a snapshot has, what a catalog says of tasks and adapters. Does not know: homes, training.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

from catalog.errors import SettingError
from catalog.tasks.task import Task
from lorauter.routing.task_index import TaskIndex, load_doras, load_pool
from lorauter.train.fit import CatalogFacts, grounds_of
from lorauter.train.fits import FITS
from lorauter.trained.grounds import check_grounds, differences
from lorauter.trained.state import Facts, TrainedState, read_facts, untrained
from warehouse.records.published import TaskRow, read_published
from warehouse.snapshots.snapshot import Snapshot


def catalog_of(snapshot: Snapshot, index: TaskIndex, examples: str | None = None) -> CatalogFacts:
    """What of a snapshot decides whether a state belongs to it.

    Args:
        examples: hash of the training splits, which no snapshot holds.
    """
    hashes = {row.task: row.task_hash for row in read_published(snapshot, TaskRow, index.base)}
    return CatalogFacts(index, hashes, load_pool(snapshot, index), load_doras(snapshot, index), examples)


def published_tasks(published: CatalogFacts, stored: Sequence[Task]) -> tuple[Task, ...]:
    """A catalog's tasks as they are stored, in its order, without test examples: no fit sees one.

    Raises SettingError where one is not stored, or has changed since it was published.
    """
    by_name = {task.name: task for task in stored}
    for task in published.index.tasks:
        if task not in by_name or by_name[task].hash != published.task_hashes[task]:
            raise SettingError(
                f"The task {task!r} is no longer as it was published.", "Publish it anew: lorauter refresh."
            )
    return tuple(replace(by_name[task], test=()) for task in published.index.tasks)


def states_of(snapshot: Snapshot, index: TaskIndex) -> Callable[[str], TrainedState]:
    """Gives the state of a router by its name, read once.

    Args:
        index: of a base of the snapshot, with all its adapters.

    Raises:
        SettingError: by the function; nothing is trained for this base, or for other tasks, adapters or code.
        SnapshotError: by the function; the state is damaged.
    """
    published = cache(lambda: catalog_of(snapshot, index))

    @cache
    def state_of(router: str) -> TrainedState:
        there = held(snapshot, router, index.base)
        if not there or router not in FITS:
            raise untrained(router)
        grounds = grounds_of(FITS[router], published())
        path, facts = next((one for one in there if not differences(one[1], grounds)), there[0])
        check_grounds(facts, grounds)
        return TrainedState.read(path.parent, path.stem)

    return state_of


def held(snapshot: Snapshot, router: str, base: str) -> list[tuple[Path, Facts]]:
    """The states that a snapshot holds for a router of a base: the file of the facts, and they."""
    files = [path for path in snapshot.trained if path.stem.rpartition("-")[0] == router]
    return [(path, facts) for path in files if (facts := read_facts(path)).get("base") == base]
