"""Faults: bad weather on demand, between the mirror's answers and who asked.

Knows: what a hub, a proxy or a cable does wrong, and how to do it to an answer. Does not know: routes, accounts.
A draw depends on the seed, the request and how often it came before, so a run meets the same faults however
its requests interleave, and a retry draws anew.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from dataclasses import dataclass, replace
from typing import Literal, Self, get_args

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from catalog.errors import SettingError
from flows.mirror.gate import Counts, bucket_of
from flows.mirror.lfs import FILE_HOST, LFS_ROOT, XET_ROOT
from flows.mirror.wire import Refusal, refuse

Kind = Literal[
    "too_many",
    "broken",
    "unavailable",
    "stalled",
    "cut",
    "wrong_length",
    "slow",
    "forbidden",
    "xet_refused",
    "html_429",
]
_NOT_EVENLY = ("html_429",)  # it tells no reset, so a client waits minutes: a soak would do nothing else
_REFUSALS = ("too_many", "broken", "unavailable", "stalled", "forbidden", "xet_refused", "html_429")
SMALL_PAGE = 100  # a page that the Hub manages at any depth
_DRIPS = 10
_CLOSING_S = 5.0


@dataclass(frozen=True, slots=True)
class Faults:
    """How often what goes wrong: each a share of all requests, together at most 1.

    Args:
        seed: of the draws.
        too_many: 429 with Retry-After `retry_after_s`. broken: 500. unavailable: 503.
        stalled: nothing for `stall_s`, then the connection closes.
        cut: the connection closes before the announced end of the body.
        wrong_length: a Content-Length above or below what the body has; or a body that ends early under a
            length that fits, where only Content-Range tells the true size. A packed body just ends early.
        slow: the body drips for `slow_s`.
        forbidden: the host of large files refuses with 403, `burst` times in a row.
        xet_refused: the Xet storage refuses with `xet_status`, or hangs up if that is 0.
        html_429: 429 as a page, with no Retry-After, while the rate headers say that there is room.
        deep_cursor: listing pages that begin deeper than so many repos are 504, unless they hold 100 or fewer.
    """

    seed: int = 0
    too_many: float = 0.0
    broken: float = 0.0
    unavailable: float = 0.0
    stalled: float = 0.0
    cut: float = 0.0
    wrong_length: float = 0.0
    slow: float = 0.0
    forbidden: float = 0.0
    xet_refused: float = 0.0
    html_429: float = 0.0
    burst: int = 3
    xet_status: int = 403
    retry_after_s: int = 1
    stall_s: float = 2.0
    slow_s: float = 0.5
    deep_cursor: int | None = None

    def __post_init__(self) -> None:
        shares = [share for _, share in self.shares()]
        if min(shares) < 0 or sum(shares) > 1 + 1e-9:
            raise SettingError(
                f"The shares of faults are {shares}.", "Give shares of 0 or more that add up to at most 1."
            )

    @classmethod
    def evenly(cls, share: float, **more: float) -> Self:
        """Every kind of fault but html_429 for so large a share of all requests; `more` are the other fields."""
        kinds: dict[str, float] = dict.fromkeys(even_kinds(), share)
        return replace(cls(**kinds), **more)  # type: ignore[arg-type]  # the fields' own types are checked by use

    def shares(self) -> list[tuple[Kind, float]]:
        return [(kind, getattr(self, kind)) for kind in get_args(Kind)]


def even_kinds() -> list[Kind]:
    """The kinds that one share for all stands for."""
    return [kind for kind in get_args(Kind) if kind not in _NOT_EVENLY]


@dataclass(frozen=True, slots=True)
class _Draw:
    """What befalls one request; `place` and `way` (0 to 1) decide where and how."""

    kind: Kind | None
    place: float
    way: float


class Weather:
    """The faults and the delay in force. Both may change while the server runs."""

    def __init__(self, faults: Faults | None = None, latency_s: float = 0.0) -> None:
        self.faults, self.latency_s = faults, latency_s
        self._seen: dict[bytes, int] = {}  # a digest each: a soak asks a million addresses

    def too_deep(self, depth: int, limit: int) -> bool:
        """Whether a listing page lies where the Hub gives up on large ones."""
        deepest = self.faults.deep_cursor if self.faults else None
        return deepest is not None and depth > deepest and limit > SMALL_PAGE

    def draw(self, faults: Faults, request: str) -> _Draw:
        """What befalls this request, this time."""
        key = hashlib.blake2b(request.encode(), digest_size=12).digest()
        nth = self._seen[key] = self._seen.get(key, 0) + 1
        if faults.forbidden and f" {LFS_ROOT}/" in request:
            nth = -(-nth // max(1, faults.burst))  # the same draw as often as a burst is long
        drawn = hashlib.blake2b(key + f"{faults.seed}/{nth}".encode(), digest_size=24).digest()
        chance, place, way = (int.from_bytes(drawn[at : at + 8]) / 2**64 for at in (0, 8, 16))
        for kind, share in faults.shares():
            if chance < share:
                return _Draw(kind, place, way)
            chance -= share
        return _Draw(None, place, way)


class UnderWeather:
    """Middleware: every answer waits the latency, and some are spoilt."""

    def __init__(self, app: ASGIApp, weather: Weather, counts: Counts) -> None:
        self.app, self.weather, self.counts = app, weather, counts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        if self.weather.latency_s and bucket_of(scope["path"]) is not None:
            await asyncio.sleep(self.weather.latency_s)
        faults = self.weather.faults
        draw = self.weather.draw(faults, _address(scope)) if faults else None
        if faults is None or draw is None or draw.kind is None or not _fits(draw.kind, scope):
            await self.app(scope, receive, send)
            return
        self.counts.spoilt(draw.kind)
        await self._spoil(faults, draw, scope, receive, send)

    async def _spoil(self, faults: Faults, draw: _Draw, scope: Scope, receive: Receive, send: Send) -> None:
        if draw.kind == "stalled":
            await _gone(receive, faults.stall_s)
            await _hang_up(scope, receive)
        elif draw.kind == "xet_refused" and faults.xet_status == 0:
            await _hang_up(scope, receive)
        elif answer := _refusal(faults, draw.kind, scope):
            await answer(scope, receive, send)
        elif draw.kind == "slow":
            await self.app(scope, receive, _dripping(send, faults.slow_s))
        else:
            body = _Body(send, scope, draw)
            with contextlib.suppress(_Enough):
                await self.app(scope, receive, body)
            if body.closes:
                await _hang_up(scope, receive)


def _address(scope: Scope) -> str:
    """The request, without what differs from run to run: storage addresses are signed anew each time."""
    query = "" if scope["path"].startswith(FILE_HOST) else scope["query_string"].decode("latin-1")
    return f"{scope['method']} {scope['path']}?{query} {Headers(scope=scope).get('range', '')}"


def _fits(kind: Kind | None, scope: Scope) -> bool:
    """Whether the fault can befall this request: one host's stay there, and an answer to HEAD has no body to spoil."""
    if kind in _ONE_HOSTS:
        return bool(scope["path"].startswith(f"{_ONE_HOSTS[kind]}/"))
    if kind == "html_429":
        return not scope["path"].startswith(FILE_HOST)
    return scope["method"] != "HEAD" or kind in _REFUSALS


_ONE_HOSTS: dict[Kind | None, str] = {"forbidden": LFS_ROOT, "xet_refused": XET_ROOT}
_PAGES: dict[Kind | None, tuple[int, str, str]] = {
    # What a proxy or another host says is no JSON.
    "unavailable": (503, "<html><body><h1>503 Service Temporarily Unavailable</h1></body></html>", "text/html"),
    "html_429": (
        429,
        "<!doctype html><html><body><h1>429</h1><p>We had to rate limit you. Write to us if you think that is wrong."
        "</p></body></html>",
        "text/html",
    ),
    "forbidden": (
        403,
        '<?xml version="1.0" encoding="UTF-8"?>'
        "<Error><Code>AccessDenied</Code><Message>Access denied</Message></Error>",
        "application/xml",
    ),
}


def _refusal(faults: Faults, kind: Kind | None, scope: Scope) -> Response | None:
    if kind == "too_many":
        answer = refuse(Refusal(429, "We had to rate limit you. Retry after the window has reset."), scope["path"])
        answer.headers["Retry-After"] = str(faults.retry_after_s)
        answer.headers["RateLimit"] = f'"{bucket_of(scope["path"]) or "resolvers"}";r=0;t={faults.retry_after_s}'
        return answer
    if kind == "broken":
        return refuse(
            Refusal(500, "Internal Error - We're working hard to fix this as soon as possible!"), scope["path"]
        )
    if kind == "xet_refused":
        return Response(b"", faults.xet_status)
    if kind in _PAGES:
        status, body, type_ = _PAGES[kind]
        return Response(body, status, media_type=type_)
    return None


class _Enough(Exception):
    """Nothing more of the answer goes out: no use in reading on."""


class _Body:
    """A `send` that announces so many bytes of a body and lets through so many, more or fewer."""

    def __init__(self, send: Send, scope: Scope, draw: _Draw) -> None:
        self._send, self._draw = send, draw
        self._transport: asyncio.Transport = scope["state"]["transport"]
        self._announced = self._left = -1  # of the body still to come; below 0: the answer had no length
        self.closes = False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            await self._begin(message)
        elif self._announced < 0:
            await self._end_early(message)
        else:
            await self._go_on(message.get("body", b""), more=message.get("more_body", False))

    async def _begin(self, message: Message) -> None:
        headers = MutableHeaders(scope=message)
        length = int(headers.get("content-length", "0"))
        if length > 0:
            self._announced, self._left = _lie(self._draw, length)
            self.closes = self._announced != self._left
            headers["content-length"] = str(self._announced)
        await self._send(message)

    async def _end_early(self, message: Message) -> None:
        """A body of no announced length: some of its first piece, then a broken connection or a proper end."""
        body = message.get("body", b"")
        if not body:
            await self._send(message)
            return
        self.closes = self._draw.kind == "cut"
        some = body[: int(len(body) * self._draw.place)]
        await self._send({"type": "http.response.body", "body": some, "more_body": self.closes})
        raise _Enough

    async def _go_on(self, body: bytes, *, more: bool) -> None:
        """Within the announced length by the rules of HTTP; what lies beyond it goes to the bare connection."""
        body = body[: self._left]
        within, beyond = body[: self._announced], body[self._announced :]
        self._announced -= len(within)
        self._left -= len(body)
        await self._send({"type": "http.response.body", "body": within, "more_body": self._announced > 0})
        if beyond:
            self._transport.write(beyond)
        if self._left <= 0 or self._announced <= 0 or not more:
            raise _Enough


def _lie(draw: _Draw, length: int) -> tuple[int, int]:
    """How many bytes an answer of so many announces, and how many it sends."""
    some = int(length * draw.place)
    if draw.kind == "cut":
        return length, some
    ways = ((length + 1 + some, length), (some, length), (some, some))
    return ways[int(draw.way * len(ways))]


def _dripping(send: Send, seconds: float) -> Send:
    length = 0

    async def drip(message: Message) -> None:
        nonlocal length
        if message["type"] == "http.response.start":
            length = int(Headers(raw=message["headers"]).get("content-length", "0"))
            await send(message)
            return
        body = message.get("body", b"")
        whole = length or len(body)  # a packed body announces nothing
        piece = max(1, whole // _DRIPS)
        for start in range(0, len(body), piece):
            await send({"type": "http.response.body", "body": body[start : start + piece], "more_body": True})
            await asyncio.sleep(seconds * min(piece, len(body) - start) / whole)
        await send({"type": "http.response.body", "body": b"", "more_body": message.get("more_body", False)})

    return drip


async def _hang_up(scope: Scope, receive: Receive) -> None:
    """Close the connection, and wait until it is: uvicorn would call an unfinished answer our bug."""
    transport: asyncio.Transport = scope["state"]["transport"]
    transport.close()
    if not await _gone(receive, _CLOSING_S):
        transport.abort()


async def _gone(receive: Receive, patience_s: float) -> bool:
    """Whether the connection ended within this time; waits for it."""
    try:
        async with asyncio.timeout(patience_s):
            while (await receive())["type"] != "http.disconnect":
                pass
    except TimeoutError:
        return False
    return True
