"""Pools of adapters for benchmarks: the demo's real ones, and many more files of the same.

Knows: folders of PEFT adapters. Does not know: engines, clocks.
"""

from __future__ import annotations

import json
import os
import shutil
from collections import defaultdict
from pathlib import Path
from typing import Any

from flows.demo.world import POOL


def pool_adapters(count: int) -> list[Path]:
    """Adapters of the demo's pool without DoRA, sorted, as many as `count`; kinds that are rare come first in."""
    files = [file.parent for file in sorted((POOL / "hub").glob("*/*/**/adapter_config.json"))]
    able = [folder for folder in files if not config_of(folder).get("use_dora")]
    kinds: dict[str, list[Path]] = defaultdict(list)
    for folder in able:
        config = config_of(folder)
        kind = (config["target_modules"], config["r"], config.get("use_rslora"), config.get("rank_pattern"))
        kinds[json.dumps(kind, default=sorted)].append(folder)
    firsts = [folders[0] for folders in kinds.values()]
    rest = [folder for folder in able if folder not in firsts]
    return sorted((firsts + rest)[:count])


def config_of(folder: Path) -> dict[str, Any]:
    """A folder's adapter_config.json."""
    found: dict[str, Any] = json.loads((folder / "adapter_config.json").read_text())
    return found


def made_up_pool(root: Path, count: int) -> list[Path]:
    """As many adapters as wished: the pool's real ones under further names, so that reading one is real work."""
    real = [folder for folder in pool_adapters(99) if config_of(folder)["r"] == 8]
    folders = [root / str(number) for number in range(count)]
    for number, folder in enumerate(folders):
        folder.mkdir(parents=True)
        for name in ("adapter_config.json", "adapter_model.safetensors"):
            source = real[number % len(real)] / name
            try:
                os.link(source, folder / name)
            except OSError:  # another file system
                shutil.copy(source, folder / name)
    return folders
