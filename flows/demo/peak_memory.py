"""Peak memory of this process and its children. Knows psutil; does not know what ran."""

from __future__ import annotations

import threading
from types import TracebackType
from typing import Self

import psutil

_EVERY = 0.25  # seconds between two looks


class PeakMemory:
    """Samples the resident memory of the process tree while the block runs; `peak_mib` is the largest sum seen."""

    def __init__(self) -> None:
        self.peak_mib = 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="peak-memory", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        me = psutil.Process()
        while True:
            self.peak_mib = max(self.peak_mib, _tree_mib(me))
            if self._stop.wait(_EVERY):
                return


def _tree_mib(process: psutil.Process) -> float:
    total = 0
    for one in [process, *process.children(recursive=True)]:
        try:
            total += one.memory_info().rss
        except psutil.NoSuchProcess:  # it ended between the listing and the look
            continue
    return total / 2**20
