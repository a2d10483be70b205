"""The gate before every route: who asks, what is left of the window, and the count.

Knows: which bucket a path spends from. Does not know: what the routes answer.
"""

from __future__ import annotations

import threading
import uuid
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from flows.mirror.accounts import ANONYMOUS, Account, account_of
from flows.mirror.limits import Bucket, Ticket, Windows
from flows.mirror.wire import Refusal, refuse


@dataclass(slots=True)
class Counts:
    """What was asked and sent so far.

    Args:
        api, resolvers: requests let in, by bucket. refused: those turned away with 429 by the limits.
        pages: requests for a page of a listing, which are API requests too.
        bytes: of bodies sent, from the file storage too. faults: answers spoilt on purpose, by kind.
    """

    api: int = 0
    resolvers: int = 0
    refused: int = 0
    pages: int = 0
    bytes: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)

    def add(self, ticket: Ticket, path: str) -> None:
        with self._lock:
            if not ticket.admitted:
                self.refused += 1
            elif ticket.bucket == "api":
                self.api += 1
                self.pages += path == "/api/models"
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

    def __init__(self, app: ASGIApp, tokens: Mapping[str, Account], windows: Windows, counts: Counts) -> None:
        self.app, self.tokens, self.windows, self.counts = app, tokens, windows, counts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope.get("path", "")
        bucket = bucket_of(path)
        if scope["type"] != "http" or bucket is None:
            await self.app(scope, receive, _counting(send, scope, self.counts))
            return
        address = (scope.get("client") or ("?",))[0]
        try:
            account, refusal = account_of(Headers(scope=scope).get("authorization"), self.tokens), None
        except Refusal as wrong_token:
            account, refusal = ANONYMOUS, wrong_token
        ticket = self.windows.spend(account.name or f"ip {address}", account.plan, bucket)
        self.counts.add(ticket, path)
        if not ticket.admitted:
            refusal = Refusal(429, "We had to rate limit you. Retry after the window has reset.")
        scope.setdefault("state", {})["account"] = account
        answer = self.app if refusal is None else refuse(refusal)
        await answer(scope, receive, _telling(_counting(send, scope, self.counts), ticket))


def bucket_of(path: str) -> Bucket | None:
    """The bucket a path spends from; None for what the Hub's limits do not cover (the LFS origin)."""
    if path.startswith("/lfs/"):
        return None
    return "resolvers" if "/resolve/" in path and not path.startswith("/api/") else "api"


def _telling(send: Send, ticket: Ticket) -> Send:
    async def told(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, text in (ticket.headers() | {"X-Request-Id": uuid.uuid4().hex}).items():
                headers.setdefault(name, text)
        await send(message)

    return told


def _counting(send: Send, scope: Scope, counts: Counts) -> Send:
    async def counted(message: Message) -> None:
        if message["type"] == "http.response.body" and scope["method"] != "HEAD":
            counts.sent(len(message.get("body", b"")))
        await send(message)

    return counted
