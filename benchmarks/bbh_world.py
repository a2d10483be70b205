"""A home over the study's pool: BIG-Bench-Hard tasks, adapters trained on them, the demo's beside; refreshed.

Knows: which tasks have an adapter of their own, how their examples are parted. Does not know: how adapters were trained
(study_pool), what is judged on the home (`lorauter evaluate`).

    python -m benchmarks.bbh_world --pool FOLDER --home HOME         # FOLDER as study_pool wrote it
    lorauter --home HOME evaluate

Of the examples that trained no adapter the first half, by content hash, validates, the other half tests. A task's own
adapter is the one of study_pool's plain recipe, whether or not it learned its task; no answer is made twice.
"""

from __future__ import annotations

import argparse
import shutil
from dataclasses import replace
from pathlib import Path

from benchmarks.study_tasks import DESCRIPTIONS, default_folder, read_study_task
from catalog.tasks.task import Task
from flows.demo.base import BASE_ID
from flows.demo.world import ENCODER_ID, build_world
from flows.home.home import Home, open_home
from flows.mirror.server import serve_in_thread
from flows.prefect_runtime.setup import prepare_prefect, start_prefect
from warehouse.storage.files import write_text
from warehouse.tasks.folder import store_task

OWN = "r8"  # study_pool's kind "strong"
DOMAINS = {
    "boolean_expressions": "logic",
    "dyck_languages": "logic",
    "web_of_lies": "logic",
    "navigate": "logic",
    "date_understanding": "world",
    "movie_recommendation": "world",
    "sports_understanding": "world",
    "disambiguation_qa": "language",
    "hyperbaton": "language",
    "ruin_names": "language",
    "geometric_shapes": "things",
    "object_counting": "things",
}


def bbh_tasks(bbh: Path, pool: Path) -> list[Task]:
    """The study's tasks of which the pool has an own adapter, in halves of validation and test."""
    own = {name: f"study/{name.replace('_', '-')}-{OWN}" for name in DESCRIPTIONS}
    return [_task(bbh, name, repo) for name, repo in own.items() if (pool / "hub" / repo).is_dir()]


def _task(bbh: Path, name: str, adapter: str) -> Task:
    task = read_study_task(bbh, name)
    half = len(task.validation) // 2
    return replace(
        task,
        train=(),
        validation=task.validation[:half],
        test=task.validation[half:],
        adapter=adapter,
        domain=DOMAINS.get(name),
    )


def refresh_home(root: Path, pool: Path, bbh: Path) -> Home:
    """The home with its tasks, refreshed over a hub on loopback: the study's adapters and the demo's."""
    hub = build_world(root / "world", small=False)
    for folder in sorted((pool / "hub" / "study").iterdir()):
        if not (hub / "study" / folder.name).exists():
            shutil.copytree(folder, hub / "study" / folder.name)
    home = open_home(home=root, storage="", base=BASE_ID, encoder=ENCODER_ID)
    write_text(root / "lorauter.toml", f'base = "{BASE_ID}"\nencoder = "{ENCODER_ID}"\n')
    for task in bbh_tasks(bbh, pool):
        store_task(home.task_folder, task)
    prepare_prefect(root)
    start_prefect()
    from flows.refresh import refresh

    with serve_in_thread(hub) as served:
        outcome = refresh({**home.reference, "endpoint": served.endpoint})
    print(outcome["folder"], outcome["evaluations"])
    return home


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bbh", type=Path, default=default_folder())
    parser.add_argument("--pool", type=Path, required=True)
    parser.add_argument("--home", type=Path, required=True)
    args = parser.parse_args()
    refresh_home(args.home, args.pool, args.bbh)


if __name__ == "__main__":
    main()
