"""Bounds: the share of the base's speed that adapters must cost, from bytes moved and operations.

Knows: this machine's rates, measured. Does not know: how anything is served.

The base's own time is taken as it is measured. Adapters add at least what it takes to read each weight in use once a
pass, or to do the two products of each row's tokens at the rate of a large product, whichever takes longer.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

READ_BYTES = 1 << 29
SIDE = 2048
TRIES = 7


@dataclass(frozen=True)
class Rates:
    """Bytes read a second, and operations (two a multiply-add) a second in a large product of the dtype."""

    read: float
    operations: float

    def share(self, base_seconds: float, read: float, operations: float) -> float:
        """The best share of the base's speed with so many bytes and operations more."""
        return base_seconds / (base_seconds + max(read / self.read, operations / self.operations))


def measure_rates(device: str, dtype: torch.dtype) -> Rates:
    """The best of some tries: a sum over much more than the caches hold, and a square product."""
    numbers = torch.ones(READ_BYTES // 4, device=device)
    square = torch.ones(SIDE, SIDE, device=device, dtype=dtype)
    return Rates(READ_BYTES / _least(numbers.sum), 2 * SIDE**3 / _least(lambda: square @ square))


def _least(run: Callable[[], object]) -> float:
    times = []
    for _ in range(TRIES):
        began = time.perf_counter()
        run()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        times.append(time.perf_counter() - began)
    return min(times)
