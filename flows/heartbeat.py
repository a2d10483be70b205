"""Heartbeats: a file beside the plan tells that a shard is being worked on, on whatever machine.

Knows: how a worker says that it lives, how long ago it said so. Does not know: what it works on.
A process that was killed says nothing more: that is all anybody can know of it from another machine.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

BEAT_S = 2.0


def heartbeat_path(plans: Path, plan: str, shard: int) -> Path:
    """The file of one shard."""
    return plans / f"{plan}-{shard:05d}.alive"


@contextmanager
def beating(path: Path) -> Iterator[None]:
    """Within it, the file is touched every BEAT_S seconds; afterwards it is gone."""
    stop = threading.Event()

    def beat() -> None:
        while not stop.is_set():
            path.touch()
            stop.wait(BEAT_S)

    path.parent.mkdir(parents=True, exist_ok=True)
    thread = threading.Thread(target=beat, name="heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        path.unlink(missing_ok=True)


def seconds_since(path: Path) -> float | None:
    """Seconds since the last beat; None where there was none."""
    try:
        return max(0.0, time.time() - path.stat().st_mtime)
    except FileNotFoundError:
        return None
