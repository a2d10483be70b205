"""The formats pool: adapters of the demo's tasks, each trained in a prompt format that is not its task's.

Knows: how each planned adapter becomes a repo. Does not know: which are planned, what their repos say (formats_plan),
training (lorauter/train), what detection and scores make of them (formats).

    python -m benchmarks.formats_pool --out FOLDER

FOLDER/hub gets the repos, FOLDER/base the demo's base. An adapter whose repo exists is not made again; one that exists
is complete. The trainer begins every answer with a blank, also where a format ends in a line's end. People mostly do
not, but here one adapter is compared with itself under several prompts.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import asdict, replace
from pathlib import Path

from benchmarks.formats_plan import PLAN, Trained, files_of
from catalog.errors import SettingError
from catalog.tasks.task import Task
from flows.demo.base import BASE_ID, export_base
from flows.demo.tasks import build_tasks
from lorauter.formats.folder import base_chat_template
from lorauter.train.adapters import train
from warehouse.storage.files import write_text

PLANNED_NAME = "planned.json"


def build(out: Path, only: str = "", planned: Iterable[Trained] = PLAN) -> None:
    """Train what is missing, a line each.

    Args:
        out: the pool's folder.
        only: train no repos but those whose ids contain this.
        planned: the adapters.

    Raises:
        SettingError: the folder holds a pool that was planned otherwise.
    """
    keep_plan(out, planned)
    base = export_base(out / "base")
    tasks = {task.name: task for task in build_tasks()}
    missing = [one for one in planned if only in one.name and not (out / "hub" / one.name).exists()]
    for number, one in enumerate(missing, 1):
        began = time.monotonic()
        loss = make(out / "hub", base, one, tasks[one.task])
        told = f"{number}/{len(missing)} {one.name} in {one.format}: loss {loss:.4f}"
        print(f"{told}, {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)


def make(hub: Path, base: Path, one: Trained, task: Task) -> float:
    """Train one adapter and write its repo, beside its place first; returns the last epoch's mean loss."""
    folder = hub / one.name
    folder.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=".making-", dir=folder.parent))
    try:
        loss = train(base, BASE_ID, one.recipe, [replace(task, template=one.truth.template())], staging / "it")
        for name, text in files_of(one, task, base_chat_template(base)).items():
            (staging / "it" / name).write_text(text, encoding="utf-8")
        (staging / "it").replace(folder)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return loss


def keep_plan(out: Path, planned: Iterable[Trained]) -> None:
    """Write what is planned into the pool's folder.

    Raises:
        SettingError: the folder holds a pool that was planned otherwise.
    """
    path = out / PLANNED_NAME
    plan = {one.name: asdict(one) | {"template": one.truth.template(), "recipe": asdict(one.recipe)} for one in planned}
    text = json.dumps(plan, indent=1) + "\n"
    if path.exists() and path.read_text(encoding="utf-8") != text:
        raise SettingError(f"{out} holds a pool that was planned otherwise.", "Give another --out.")
    write_text(path, text)


def main() -> None:
    """The command line."""
    import torch

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of the pool, outside the repository")
    parser.add_argument("--only", default="", help="train only repo ids that contain this")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    build(args.out, args.only)


if __name__ == "__main__":
    main()
