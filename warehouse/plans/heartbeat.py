"""Heartbeats: a file beside the plan tells that a shard is being worked on, on whatever machine.

Knows: how a worker says that it lives, what was last seen of each. Does not know: what it works on, who looks.

A process that was killed says nothing more: that is all anybody can know of it from another machine. Whoever looks
judges by whether the beat changed, on a clock of its own: the clocks of two machines are not compared.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from catalog.errors import StorageError
from warehouse.storage.storage import Stamp, Storage

BEAT_S = 2.0
_SUFFIX = ".alive"


def heartbeat_name(plan: str, shard: int) -> str:
    """The file of one shard."""
    return f"{plan}-{shard:05d}{_SUFFIX}"


@contextmanager
def beating(plans: Storage, name: str) -> Iterator[None]:
    """Within it, the file is touched every BEAT_S seconds; afterwards it is gone."""
    stop = threading.Event()

    def beat() -> None:
        while not stop.is_set():
            with suppress(StorageError, OSError):  # the next beat may get through
                plans.touch(name)
            stop.wait(BEAT_S)

    thread = threading.Thread(target=beat, name="heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        with suppress(StorageError, OSError):  # one left behind is silent, and that is all it says
            plans.delete(name)


def heartbeats(plans: Storage) -> dict[str, Stamp]:
    """The last beat of every shard, by one listing: it differs from an earlier look's where the worker lives."""
    return {name: stamp for name, stamp in plans.stamps().items() if name.endswith(_SUFFIX)}
