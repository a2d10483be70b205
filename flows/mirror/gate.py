"""The gate before every route: who asks, what is left of the window, and the count.

Knows: which bucket a path spends from. Does not know: what the routes answer.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from flows.mirror.accounts import ANONYMOUS, Account, account_of
from flows.mirror.limits import Bucket, Ticket, Windows
from flows.mirror.wire import Refusal, refuse


@dataclass(slots=True)
class Counts:
    """Requests so far: answered ones by bucket, and those turned away with 429."""

    api: int = 0
    resolvers: int = 0
    refused: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)

    def add(self, ticket: Ticket) -> None:
        with self._lock:
            if not ticket.admitted:
                self.refused += 1
            elif ticket.bucket == "api":
                self.api += 1
            else:
                self.resolvers += 1


class Gate:
    """Middleware: identifies, charges, counts, and adds the headers that every answer carries."""

    def __init__(self, app: ASGIApp, tokens: Mapping[str, Account], windows: Windows, counts: Counts) -> None:
        self.app, self.tokens, self.windows, self.counts = app, tokens, windows, counts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        bucket = bucket_of(scope.get("path", ""))
        if scope["type"] != "http" or bucket is None:
            await self.app(scope, receive, send)
            return
        address = (scope.get("client") or ("?",))[0]
        try:
            account, refusal = account_of(Headers(scope=scope).get("authorization"), self.tokens), None
        except Refusal as wrong_token:
            account, refusal = ANONYMOUS, wrong_token
        ticket = self.windows.spend(account.name or f"ip {address}", account.plan, bucket)
        self.counts.add(ticket)
        if not ticket.admitted:
            refusal = Refusal(429, "We had to rate limit you. Retry after the window has reset.")
        scope.setdefault("state", {})["account"] = account
        answer = self.app if refusal is None else refuse(refusal)
        await answer(scope, receive, _telling(send, ticket))


def bucket_of(path: str) -> Bucket | None:
    """The bucket a path spends from; None for what the Hub's limits do not cover (the LFS origin)."""
    if path.startswith("/lfs/"):
        return None
    return "resolvers" if "/resolve/" in path and not path.startswith("/api/") else "api"


def _telling(send: Send, ticket: Ticket) -> Send:
    async def told(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            headers.update(ticket.headers() | {"X-Request-Id": uuid.uuid4().hex})
        await send(message)

    return told
