"""The noisy pool: adapters with shuffled labels, noise on the weights, interpolated, off-task and undertrained ones.

Knows: how each planned adapter becomes a repo. Does not know: which are planned (noisy_plan), the maths of noise
(noisy_kinds), training (lorauter/train), what the product makes of them (noisy_study).

    python -m benchmarks.noisy_pool --out FOLDER --off-task FOLDER [--count 180] [--kinds shuffled,undertrained]

FOLDER of --off-task holds PEFT repos for the demo's base, such as `benchmarks.study_pool` writes to OUT/hub/study.
FOLDER/hub gets the repos and FOLDER/kinds.json what each of them is; nothing in a repo says that. The hostile case is
made on purpose: a spoilt adapter has the card of the declared adapter whose task it claims; only off-task ones have
honest cards. An adapter whose repo exists is not made again. One that exists is complete.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from benchmarks.noisy_kinds import Tensors, interpolated, perturbed
from benchmarks.noisy_plan import KINDS, OWN, Noisy, plan
from benchmarks.study_pool import names
from catalog.adapters.card import CARD_NAME
from catalog.adapters.facts import CONFIG_NAME, WEIGHTS_NAME
from catalog.errors import SettingError
from catalog.tasks.task import Task
from flows.demo.base import BASE_ID, export_base
from flows.demo.build_pool import HUB
from flows.demo.tasks import build_tasks
from lorauter.train.adapters import Recipe, card, train
from warehouse.storage.files import write_text

KINDS_NAME = "kinds.json"
_TASK_LINE = re.compile(r"^- `(\w+)`", re.MULTILINE)
_TITLE = re.compile(r"^# .*$", re.MULTILINE)


def off_task_tasks(folder: Path) -> dict[str, str]:
    """Name of each adapter of a folder → the first task that its card names.

    Raises:
        SettingError: the folder holds no adapters.
    """
    found = {path.parent.name: _claimed(path.parent) for path in sorted(folder.glob(f"*/{CONFIG_NAME}"))}
    if not found:
        raise SettingError(f"{folder} holds no adapters.", "Train some: python -m benchmarks.study_pool --out FOLDER.")
    return found


def _claimed(repo: Path) -> str:
    line = _TASK_LINE.search((repo / CARD_NAME).read_text(encoding="utf-8"))
    return line[1] if line else repo.name


class PoolMaker:
    """Makes planned adapters from the demo's pool, a folder of off-task adapters and the base."""

    def __init__(self, hub: Path, off_task: Path, base: Path, tasks: Sequence[Task]) -> None:
        self._hub, self._off_task, self._base = hub, off_task, base
        self._tasks = {task.name: task for task in tasks}

    def make(self, one: Noisy) -> None:
        """Write the repo of one adapter, beside its place first: one that is there is complete."""
        folder = self._hub / one.name
        if folder.exists():
            return
        folder.parent.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=".making-", dir=folder.parent))
        try:
            self._fill(one, staging / "it")
            (staging / "it").replace(folder)
        finally:
            shutil.rmtree(staging, ignore_errors=True)

    def _fill(self, one: Noisy, folder: Path) -> None:
        if one.kind in ("shuffled", "undertrained"):
            train(self._base, BASE_ID, training(one), list(self._tasks.values()), folder)
        elif one.kind == "interpolated":
            _write(folder, *interpolated(_read(_own(one.task)), _read(_own(one.other)), one.amount))
        else:
            config, tensors = _read(_own(one.task) if one.kind == "perturbed" else self._off_task / one.source)
            _write(folder, config, perturbed(tensors, one.amount, one.seed) if one.amount else tensors)
        (folder / CARD_NAME).write_text(self._card(one), encoding="utf-8")

    def _card(self, one: Noisy) -> str:
        """An off-task adapter's own card under the new name; else that of the task's declared adapter."""
        if one.kind == "off-task":
            text = (self._off_task / one.source / CARD_NAME).read_text(encoding="utf-8")
            return _TITLE.sub(f"# {one.name.split('/')[1]}", text, count=1)
        task = self._tasks[one.task]
        return card(BASE_ID, replace(OWN[one.task], name=one.name, subfolder=""), [task], len(task.train))


def training(one: Noisy) -> Recipe:
    """The recipe of an adapter that is trained: enough steps to learn the answers' format, or too few for anything."""
    plain = Recipe(one.name, (one.task,), rank=one.rank, examples=int(one.amount), seed=one.seed)
    if one.kind == "shuffled":
        return replace(plain, shuffled_labels=True, epochs=2, batch_size=8)
    return replace(plain, epochs=1)


def _own(task: str) -> Path:
    return HUB / OWN[task].name / OWN[task].subfolder


def _read(folder: Path) -> tuple[dict[str, Any], Tensors]:
    from safetensors.torch import load_file

    return json.loads((folder / CONFIG_NAME).read_text(encoding="utf-8")), load_file(folder / WEIGHTS_NAME)


def _write(folder: Path, config: Mapping[str, Any], tensors: Tensors) -> None:
    from safetensors.torch import save_file

    folder.mkdir(parents=True)
    save_file(dict(tensors), folder / WEIGHTS_NAME, metadata={"format": "pt"})
    (folder / CONFIG_NAME).write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def build(out: Path, base: Path, off_task: Path, count: int, kinds: Sequence[str] = KINDS) -> list[Noisy]:
    """Make what is missing of the first `count` noisy adapters, a line each; their plan is written and returned.

    Raises:
        SettingError: there are no off-task adapters, or the folder holds a pool that was planned with others.
    """
    planned = plan(count, off_task_tasks(off_task))
    told = _told(out / KINDS_NAME, planned)
    maker = PoolMaker(out / "hub", off_task, export_base(base), build_tasks())
    missing = [one for one in planned if one.kind in kinds and not (out / "hub" / one.name).exists()]
    for number, one in enumerate(missing, 1):
        began = time.monotonic()
        maker.make(one)
        said = f"{number}/{len(missing)} {one.kind:<13}{one.name}  {time.monotonic() - began:.1f} s"
        print(said, file=sys.stderr, flush=True)
    write_text(out / KINDS_NAME, told)
    return planned


def _told(path: Path, planned: Sequence[Noisy]) -> str:
    """The text of kinds.json; a longer one that is there stays."""
    new: list[tuple[str, Any]] = [(one.name, asdict(one)) for one in planned]
    old: list[tuple[str, Any]] = list(json.loads(path.read_text(encoding="utf-8")).items()) if path.exists() else []
    both = min(len(old), len(new))
    if old[:both] != new[:both]:
        raise SettingError(
            f"{path.parent} holds another pool: its off-task adapters were others.", "Give another --out."
        )
    return json.dumps(dict(old if len(old) > len(new) else new), indent=1) + "\n"


def main() -> None:
    """The command line."""
    import torch

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of the pool, outside the repository")
    parser.add_argument("--off-task", type=Path, required=True, help="folder of adapters for other tasks")
    parser.add_argument("--count", type=int, default=180, help="noisy adapters; a fifth of each kind")
    parser.add_argument("--kinds", default=",".join(KINDS), help="make only these now")
    parser.add_argument("--base", type=Path, help="folder of the exported base; OUT/base where left out")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    build(args.out, args.base or args.out / "base", args.off_task, args.count, names(args.kinds))


if __name__ == "__main__":
    main()
