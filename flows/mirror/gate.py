"""The gate before every route: who asks, what is left of the window, and the count.

Knows: which bucket a path spends from, and the headers on every answer. Does not know: what the routes answer.
"""

from __future__ import annotations

import secrets
import threading
import time
import uuid
from collections import Counter
from dataclasses import dataclass, field

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from flows.mirror.accounts import ANONYMOUS, Keyring, UnknownToken
from flows.mirror.compression import accepts_gzip
from flows.mirror.lfs import FILE_HOST
from flows.mirror.likeness import Likeness
from flows.mirror.limits import Bucket, Ticket, Windows
from flows.mirror.wire import Refusal, refuse


@dataclass(slots=True)
class Counts:
    """What was asked and sent so far.

    Args:
        api, resolvers: requests let in, by bucket. refused: those turned away with 429 by the limits.
        pages, tokens: requests for a page of a listing and for a Xet read token, which are API requests too.
        hops: redirects followed to /api/resolve-cache/, which are charged to nobody.
        bytes: of bodies sent, from the file storage too. faults: answers spoilt on purpose, by kind.
    """

    api: int = 0
    resolvers: int = 0
    refused: int = 0
    pages: int = 0
    tokens: int = 0
    hops: int = 0
    bytes: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)

    def add(self, ticket: Ticket, path: str) -> None:
        with self._lock:
            if not ticket.admitted:
                self.refused += 1
            elif _is_hop(path):
                self.hops += 1
            elif ticket.bucket == "api":
                self.api += 1
                self.pages += path == "/api/models"
                self.tokens += "/xet-read-token/" in path
            else:
                self.resolvers += 1

    def sent(self, size: int) -> None:
        with self._lock:
            self.bytes += size

    def spoilt(self, kind: str) -> None:
        with self._lock:
            self.faults[kind] += 1


class Gate:
    """Middleware: identifies, charges, counts, and adds the headers that every answer carries."""

    def __init__(self, app: ASGIApp, keys: Keyring, windows: Windows, counts: Counts, likeness: Likeness) -> None:
        self.app, self.keys, self.windows, self.counts, self.likeness = app, keys, windows, counts, likeness

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        path, asked = scope["path"], Headers(scope=scope)
        bucket, state = bucket_of(path), scope.setdefault("state", {})
        state["gzip"] = self.likeness.gzip and accepts_gzip(asked)
        send = _counting(send, scope, self.counts)
        if bucket is None:
            state["account"] = ANONYMOUS
            await self.app(scope, receive, send)
            return
        address = (scope.get("client") or ("?",))[0]
        account, refusal = ANONYMOUS, None
        try:
            account = self.keys.account_of(asked.get("authorization"))
        except UnknownToken as unknown:
            state["unknown_token"] = unknown
        except Refusal as expired:
            refusal = expired
        ticket = self.windows.spend(account.name or f"ip {address}", account.plan, bucket, 0 if _is_hop(path) else 1)
        self.counts.add(ticket, path)
        if not ticket.admitted:
            refusal = Refusal(429, "We had to rate limit you. Retry after the window has reset.")
        state["account"] = account
        answer = self.app if refusal is None else refuse(refusal, path)
        await answer(scope, receive, _telling(send, ticket, f"{scope['scheme']}://{asked.get('host', '')}"))


def bucket_of(path: str) -> Bucket | None:
    """The bucket a path spends from; None for what the Hub's limits do not cover (the file host)."""
    if path.startswith(FILE_HOST):
        return None
    return "resolvers" if _is_hop(path) or ("/resolve/" in path and not path.startswith("/api/")) else "api"


def _is_hop(path: str) -> bool:
    return path.startswith("/api/resolve-cache/")


_EXPOSED = (
    "X-Repo-Commit,X-Request-Id,X-Error-Code,X-Error-Message,X-Total-Count,ETag,Link,Accept-Ranges,Content-Range,"
    "X-Linked-Size,X-Linked-ETag,X-Xet-Hash"
)


def _telling(send: Send, ticket: Ticket, origin: str) -> Send:
    async def told(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, text in (ticket.headers() | _common(origin)).items():
                headers.setdefault(name, text)
            headers.add_vary_header("Origin")
        await send(message)

    return told


def _common(origin: str) -> dict[str, str]:
    """What all answers carry but those of the file host."""
    return {
        "X-Request-Id": f"Root=1-{int(time.time()):08x}-{secrets.token_hex(12)};{uuid.uuid4()}",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Referrer-Policy": "strict-origin-when-cross-origin",
        "Access-Control-Max-Age": "86400",
        "Access-Control-Allow-Origin": origin,
        "Access-Control-Expose-Headers": _EXPOSED,
    }


def _counting(send: Send, scope: Scope, counts: Counts) -> Send:
    async def counted(message: Message) -> None:
        if message["type"] == "http.response.body" and scope["method"] != "HEAD":
            counts.sent(len(message.get("body", b"")))
        await send(message)

    return counted
