"""Cases timed in turns, so that whatever slows a machine for a while slows all of them.

Knows: clocks, medians, what a machine is. Does not know: what is timed.
"""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import psutil
import torch

from lorauter.engine.engine import Engine

Run = Callable[[], None]
Case = TypeVar("Case")


def interleaved(runs: dict[str, Run], repeats: int) -> dict[str, list[float]]:
    """Seconds of every run, in turns; every other turn goes backwards."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(repeats):
        for name, run in in_turn(runs, turn):
            began = time.perf_counter()
            run()
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            seconds[name].append(time.perf_counter() - began)
    return seconds


def in_turn(cases: dict[str, Case], turn: int) -> list[tuple[str, Case]]:
    """All cases; every other turn goes backwards."""
    return list(cases.items())[:: -1 if turn % 2 else 1]


def median(values: Sequence[float]) -> float:
    """The upper median."""
    return sorted(values)[len(values) // 2]


def conditions(engine: Engine) -> dict[str, Any]:
    """The engine's fingerprint and the machine."""
    gpu = torch.cuda.get_device_name() if engine.device.startswith("cuda") else None
    return {
        **engine.fingerprint,
        "machine": f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}, {torch.get_num_threads()} threads",
        **({"gpu": gpu} if gpu else {}),
        "load_before": round(psutil.getloadavg()[0], 2),
        "threads_wait": {name: os.environ.get(name, "unset") for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")},
    }
