"""Rate limits: the Hub's documented five-minute windows, a client and a bucket at a time.

Knows: the published quotas and the headers that tell them. Does not know: requests, routes, accounts.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from catalog.errors import SettingError

Bucket = Literal["api", "resolvers"]
Plan = Literal["anonymous", "free", "pro"]

WINDOW_S = 300.0
QUOTAS: dict[tuple[Plan, Bucket], int] = {
    ("anonymous", "api"): 500,
    ("anonymous", "resolvers"): 3_000,
    ("free", "api"): 1_000,
    ("free", "resolvers"): 5_000,
    ("pro", "api"): 2_500,
    ("pro", "resolvers"): 12_000,
}
_CROWDED = 10_000  # clients remembered before closed windows are swept: addresses are free to make up


@dataclass(frozen=True, slots=True)
class Limits:
    """The Hub's limits, or smaller ones for a test that has no five minutes.

    Args:
        scale: share of every quota that is granted, at most 1.
        window_s: seconds a window lasts; shortened no further than the quotas: never faster than the Hub.
        enforced: False refuses nobody and tells nothing, as a hub without limits: to time a crawler, not its windows.
    """

    scale: float = 1.0
    window_s: float = WINDOW_S
    enforced: bool = True

    def __post_init__(self) -> None:
        if not 0 < self.scale <= 1:
            raise SettingError(f"The mirror's limit scale is {self.scale}.", "Give a share above 0 and at most 1.")
        if self.window_s < WINDOW_S * self.scale:
            raise SettingError(
                f"A window of {self.window_s} s with scale {self.scale} would be more generous than the Hub.",
                f"Keep the window at {WINDOW_S * self.scale:g} s or longer.",
            )

    def quota(self, plan: Plan, bucket: Bucket) -> int:
        return max(1, int(QUOTAS[plan, bucket] * self.scale))


@dataclass(frozen=True, slots=True)
class Ticket:
    """What a client has left in its window after this request."""

    bucket: Bucket
    quota: int
    remaining: int
    reset_s: int
    window_s: int
    admitted: bool
    told: bool = True

    def headers(self) -> dict[str, str]:
        if not self.told:
            return {}
        told = {
            "RateLimit": f'"{self.bucket}";r={self.remaining};t={self.reset_s}',
            "RateLimit-Policy": f'"fixed window";"{self.bucket}";q={self.quota};w={self.window_s}',
        }
        return told if self.admitted else told | {"Retry-After": str(self.reset_s)}


@dataclass(slots=True)
class _Window:
    closes: float
    spent: int = 0


class Windows:
    """Fixed windows, opened by a client's first request in a bucket."""

    def __init__(self, limits: Limits, clock: Callable[[], float] = time.monotonic) -> None:
        self.limits = limits
        self._clock = clock
        self._windows: dict[tuple[str, Bucket], _Window] = {}
        self._lock = threading.Lock()

    def spend(self, client: str, plan: Plan, bucket: Bucket, cost: int = 1) -> Ticket:
        """Take one request off the client's window, or refuse it. What costs 0 is let in and told the window."""
        quota = self.limits.quota(plan, bucket)
        with self._lock:
            now = self._clock()
            window = self._open(client, bucket, now)
            admitted = window.spent + cost <= quota or not self.limits.enforced
            window.spent += cost * admitted
            remaining = max(0, quota - window.spent)
            left = math.ceil(window.closes - now - 1e-6)  # a fresh window is 300 s, not 301 by a rounding error
        length = math.ceil(self.limits.window_s)
        return Ticket(bucket, quota, remaining, max(1, left), length, admitted, self.limits.enforced)

    def _open(self, client: str, bucket: Bucket, now: float) -> _Window:
        window = self._windows.get((client, bucket))
        if window is None or window.closes <= now:
            if len(self._windows) >= _CROWDED:
                self._windows = {key: kept for key, kept in self._windows.items() if kept.closes > now}
            window = self._windows[client, bucket] = _Window(now + self.limits.window_s)
        return window
