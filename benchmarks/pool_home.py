"""A pool of adapters as a hub would hold it, and a home that crawls it with the demo's tasks.

Knows: folders, settings. Does not know: how pools are made, what is measured on them.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from flows.demo.base import BASE_ID
from flows.demo.world import ENCODER_ID, build_world, demo_tasks
from flows.home.home import open_home
from warehouse.storage.files import write_text
from warehouse.tasks.folder import store_task


def hub_of_pool(hub: Path, world: Path, repos: Mapping[str, Path]) -> Path:
    """The hub's folder: base, encoder and the adapters.

    Args:
        hub: the folder; what it has already stays.
        world: where base and encoder are made, once; hubs share their files.
        repos: id of each adapter's repo, and its folder.
    """
    models = build_world(world, small=True)
    for model in (BASE_ID, ENCODER_ID):
        if not (hub / model).exists():
            shutil.copytree(models / model, hub / model, copy_function=os.link)
    for repo, folder in repos.items():
        if not (hub / repo).exists():
            shutil.copytree(folder, hub / repo)
    return hub


def furnish(root: Path, **settings: str | int) -> None:
    """Put settings, base and encoder among them, and the demo's tasks into a home."""
    root.mkdir(parents=True, exist_ok=True)
    every: dict[str, str | int] = {"base": BASE_ID, "encoder": ENCODER_ID, **settings}
    lines = (f"{name} = {json.dumps(value)}\n" for name, value in every.items())
    write_text(root / "lorauter.toml", "".join(lines))
    home = open_home(home=root, storage="")
    for task in demo_tasks(small=False):
        store_task(home.task_folder, task)
