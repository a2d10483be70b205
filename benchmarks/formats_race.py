"""The formats pool, scored by the product itself: what a refresh publishes of adapters trained in other formats.

Knows: a hub and a home with the pool, the published picks. Does not know: what other ways of asking are worth
(formats).

Where a snapshot's table `best` says in which format a pick is asked, it is told how often that is the one of its
training; a version of the product that races adapters alone has no such column, and asks all of them in the task's
template. The scores are the published ones: on validation examples that did not choose the pick.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.formats_plan import PLAN
from flows.demo.base import BASE_ID
from flows.demo.world import ENCODER_ID, build_world, demo_tasks
from flows.home.home import Home, open_home
from flows.mirror.server import serve_in_thread
from flows.prefect_runtime.setup import prepare_prefect, start_prefect
from warehouse.snapshots.snapshot import current_snapshot
from warehouse.storage.files import write_text
from warehouse.tasks.folder import store_task

FORMAT = "format"
"""The column of `best` that says how a pick is asked."""
_TRUE = {one.name: one.format for one in PLAN}


def raced(pool: Path) -> dict[str, Any]:
    """Crawl, validate, score and publish the pool on a home under it; what was published, and what that took."""
    root = pool / "race"
    hub = _hub(root, pool)
    _furnish(root)
    with serve_in_thread(hub) as served:
        home = open_home(home=root, endpoint=served.endpoint, storage="")
        evaluations = _refreshed(home)
    return {"evaluations": evaluations, **published(current_snapshot(home.snapshots).read("best"))}


def published(best: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The figures of a snapshot's table `best`."""
    picks = [
        {
            "task": row["task"],
            "adapter": row["repo"] or "",
            FORMAT: row.get(FORMAT),
            "score": round(row["score"], 4),
            "base_score": round(row["base_score"], 4),
        }
        for row in best
    ]
    by_format = any(FORMAT in row for row in best)
    return {
        "by_format": by_format,
        "score": round(sum(pick["score"] for pick in picks) / len(picks), 4),
        "base_score": round(sum(pick["base_score"] for pick in picks) / len(picks), 4),
        "in_true_format": sum(_is_true(pick) for pick in picks) if by_format else None,
        "picks": picks,
    }


def _is_true(pick: Mapping[str, Any]) -> bool:
    return pick["adapter"] in _TRUE and pick[FORMAT] == _TRUE[pick["adapter"]]


def told(race: Mapping[str, Any]) -> list[str]:
    """The lines that are printed."""
    how = "by adapter and format" if race["by_format"] else "by adapter alone, in the task's template"
    true = f", {race['in_true_format']} of {len(race['picks'])} in the true format" if race["by_format"] else ""
    return [
        "",
        f"the product's race, {how}: published {race['score']:.3f}, base {race['base_score']:.3f}{true}",
        *(
            f"  {pick['task']:<18}{pick['adapter'] or 'base':<28}{pick[FORMAT] or '-':<18}{pick['score']:.3f}"
            for pick in race["picks"]
        ),
    ]


def _hub(root: Path, pool: Path) -> Path:
    """Base, encoder and the pool's adapters, as a hub would hold them."""
    hub, world = root / "hub-files", build_world(root / "world", small=True)
    for model in (BASE_ID, ENCODER_ID):
        if not (hub / model).exists():
            shutil.copytree(world / model, hub / model, copy_function=os.link)
    for one in PLAN:
        if not (hub / one.name).exists():
            shutil.copytree(pool / "hub" / one.name, hub / one.name)
    return hub


def _furnish(root: Path) -> None:
    root.mkdir(parents=True, exist_ok=True)
    write_text(root / "lorauter.toml", f'base = "{BASE_ID}"\nencoder = "{ENCODER_ID}"\n')
    home = open_home(home=root, storage="")
    for task in demo_tasks(small=False):
        store_task(home.task_folder, task)


def _refreshed(home: Home) -> dict[str, int]:
    prepare_prefect(home.root)
    start_prefect()
    from flows.refresh import refresh

    cost = refresh(home.reference)["evaluations"]
    return {name: cost[name] for name in ("spent", "exhaustive")}
