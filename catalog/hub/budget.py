"""The budget: how many requests a hub allows now, and how many it answers well at once.

Knows: the Hub's documented 5-minute windows, what answers say about the rest of a window, when to wait.
Does not know: requests, retries, what is asked for (catalog/hub/transport).

A window is fixed: it opens with a client's first request and grants a quota to each kind of call. An answer's RateLimit
header wins over our own count, because other programs may spend from the same window. A hub that states no limits is
asked without limits; only the limits of the public one are known before it is asked.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Condition, Lock
from typing import Literal

Kind = Literal["api", "resolvers"]
KINDS: tuple[Kind, ...] = ("api", "resolvers")
PUBLIC_ENDPOINT = "https://huggingface.co"  # the hub whose windows are documented
WINDOW_S = 300.0
DOCUMENTED: dict[str, dict[Kind, int]] = {
    "anonymous": {"api": 500, "resolvers": 3_000},
    "free": {"api": 1_000, "resolvers": 5_000},
    "pro": {"api": 2_500, "resolvers": 12_000},
}
LONGEST_S = 3_600.0  # the longest wait, whatever a header asks for; then the hub is asked again
_SHORT_S = 1.0  # a shorter wait is not told to anybody
BLIND_S = (60.0, 120.0, 240.0, 300.0)  # waits after refusals that name no end: one, two in a row, …
_IN_FLIGHT = 64  # requests that may be under way: an answer may not have counted so many


@dataclass(slots=True)
class _Window:
    quota: float = math.inf
    left: float = math.inf
    closes: float = math.inf
    length: float = WINDOW_S
    shut_until: float = -math.inf  # refused without a word of when it ends
    refusals: int = 0  # of those, in a row


class Budget:
    """Requests left in the windows of one hub and one caller; shared by all threads of the process.

    Args:
        plan: a key of DOCUMENTED whose quotas are taken for granted until the hub says better; None for no limit.
        on_wait: told the kind and the seconds before a wait of more than a second.
    """

    def __init__(
        self,
        plan: str | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._clock, self._sleep = clock, sleep
        self._lock = Lock()
        self._windows = {kind: _Window() for kind in KINDS}
        self.on_wait: Callable[[Kind, float], None] = lambda kind, seconds: None
        for kind, quota in (DOCUMENTED[plan] if plan else {}).items():
            self._windows[kind] = _Window(quota, quota)

    def spend(self, kind: Kind) -> None:
        """Take one request off the window, waiting for the next window where nothing is left."""
        while (wait := self._take(kind)) > 0:
            if wait > _SHORT_S:
                self.on_wait(kind, wait)
            self._sleep(wait)

    def learn(self, kind: Kind, remaining: int, resets_in: float, quota: int | None, length: float | None) -> None:
        """Believe what an answer said of the window.

        Answers come out of order, so the least that is left counts; but a hub that says there is far more than we
        counted charges for less than we thought.
        """
        with self._lock:
            window, now = self._windows[kind], self._clock()
            if quota:  # none at all is no window
                window.quota = quota
            window.length = min(length or window.length, LONGEST_S)
            closes = now + min(resets_in, LONGEST_S)
            fresh = window.closes == math.inf or closes > window.closes + 0.5 * window.length
            least = min(window.left, remaining) if remaining <= window.left + _IN_FLIGHT else remaining - _IN_FLIGHT
            window.left = remaining if fresh else least
            window.closes = closes

    def refused(self, kind: Kind, retry_after: float | None) -> None:
        """The hub answered 429: nothing is asked until the end it names, or for minutes where it names none."""
        with self._lock:
            window, now = self._windows[kind], self._clock()
            if retry_after is not None:  # at least a second: a refusal that ends at once would be met at once again
                window.left, window.closes = 0, now + min(max(retry_after, _SHORT_S), LONGEST_S)
            elif now >= window.shut_until:  # else it was sent before the first refusal came
                window.shut_until = now + BLIND_S[min(window.refusals, len(BLIND_S) - 1)]
                window.refusals += 1

    def answered(self, kind: Kind) -> None:
        """The hub answered as it should: the next refusal is the first again."""
        with self._lock:
            window = self._windows[kind]
            if window.refusals and self._clock() >= window.shut_until:
                window.refusals = 0

    def seconds_for(self, kind: Kind, requests: int) -> float:
        """Seconds of waiting that so many requests from now on will meet, by what is known now."""
        with self._lock:
            window = self._windows[kind]
            over = requests - window.left
            if over <= 0:
                return 0.0
            first = max(0.0, window.closes - self._clock()) if window.closes < math.inf else window.length
            return first + (math.ceil(over / window.quota) - 1) * window.length

    def left(self, kind: Kind) -> float:
        """Requests left in the window as far as known; infinite where the hub states no limit."""
        with self._lock:
            return self._windows[kind].left

    def quota(self, kind: Kind) -> float:
        """Requests that a whole window grants as far as known; infinite where the hub states no limit."""
        with self._lock:
            return self._windows[kind].quota

    def _take(self, kind: Kind) -> float:
        """Seconds to wait before the next try; 0 when a request was taken."""
        with self._lock:
            window, now = self._windows[kind], self._clock()
            if now >= window.closes:
                window.left, window.closes = window.quota, math.inf
            if now < window.shut_until:
                return window.shut_until - now
            if window.left <= 0:
                return max(0.01, window.closes - now)
            window.left -= 1
            if window.closes == math.inf and window.quota < math.inf:
                window.closes = now + window.length
            return 0.0


@dataclass(slots=True)
class Pace:
    """How many requests run at once: one more after a round without trouble, half as many after trouble (AIMD).

    Args:
        most: upper bound.
        start: where it begins.
    """

    most: int = 16
    start: int = 8
    _limit: float = field(init=False)
    _active: int = field(default=0, init=False)
    _slowed: float = field(default=0.0, init=False)
    _free: Condition = field(default_factory=Condition, init=False, repr=False)

    def __post_init__(self) -> None:
        self._limit = float(min(self.start, self.most))

    @property
    def limit(self) -> int:
        """Requests that may run at once now."""
        return int(self._limit)

    @contextmanager
    def slot(self) -> Iterator[None]:
        """Hold one place among the requests that run; waits for it."""
        with self._free:
            self._free.wait_for(lambda: self._active < self.limit)
            self._active += 1
        try:
            yield
        finally:
            with self._free:
                self._active -= 1
                self._free.notify()

    def went_well(self) -> None:
        """A request was answered as it should be."""
        with self._free:
            self._limit = min(float(self.most), self._limit + 1 / self._limit)

    def met_trouble(self) -> None:
        """A request met 429, 5xx, a timeout or a cut connection. One halving a second: trouble comes in swarms."""
        with self._free:
            now = time.monotonic()
            if now - self._slowed > 1.0:
                self._slowed, self._limit = now, max(1.0, self._limit / 2)
