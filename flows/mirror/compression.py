"""Compression: text packed as the Hub packs it, for whoever accepts gzip.

Knows: Accept-Encoding, and what packing does to headers and ranges. Does not know: which answers there are, or why.
A packed answer has no length (so it goes out chunked) and is whole, whatever range was asked for.
"""

from __future__ import annotations

import gzip
import re
from collections.abc import Callable

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

PACKED_FROM = 1_000  # bytes
_LEVEL = 1
_SMALL = 64 << 10  # packed where it stands; more of it in a thread
_PIECE_BYTES = 1 << 20
_GZIP = re.compile(r"(?:^|,)\s*(?:x-)?(?:gzip|\*)\s*(?:;\s*q=([01](?:\.\d{0,3})?)\s*)?(?=,|$)", re.IGNORECASE)


def accepts_gzip(headers: Headers) -> bool:
    """Whether a request says that it takes gzip; one without Accept-Encoding takes nothing but the bytes."""
    found = _GZIP.search(headers.get("accept-encoding", ""))
    return found is not None and float(found[1] or 1) > 0


class Packable(Response):
    """A text that goes out packed where the request takes that, else as `plain` would send it.

    Args:
        plain: the answer unpacked, with all its headers. size: bytes of the text. read: the text itself.
    """

    def __init__(self, plain: Response, size: int, read: Callable[[], bytes]) -> None:
        self.plain, self.size, self.read = plain, size, read
        self.status_code, self.background, self.body = plain.status_code, None, b""
        self.raw_headers = plain.raw_headers
        self.headers.add_vary_header("accept-encoding")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if _unchanged(Headers(scope=scope), self.headers.get("etag", "")):
            await send({"type": "http.response.start", "status": 304, "headers": _without(self.headers, *_OF_A_BODY)})
            await send({"type": "http.response.body", "body": b""})
        elif self.size >= PACKED_FROM and scope.get("state", {}).get("gzip", False):
            await self._send_packed(scope, send)
        else:
            await self.plain(scope, receive, send)

    async def _send_packed(self, scope: Scope, send: Send) -> None:
        self.headers["content-encoding"] = "gzip"
        if (etag := self.headers.get("etag", "")) and not etag.startswith("W/"):
            self.headers["etag"] = f"W/{etag}"
        headers = _without(self.headers, "content-length", "accept-ranges", "last-modified")
        await send({"type": "http.response.start", "status": self.status_code, "headers": headers})
        packed = b"" if scope["method"] == "HEAD" else await self._packed()
        for start in range(0, len(packed), _PIECE_BYTES):
            piece = packed[start : start + _PIECE_BYTES]
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _packed(self) -> bytes:
        return _pack(self.read()) if self.size < _SMALL else await run_in_threadpool(lambda: _pack(self.read()))


_OF_A_BODY = ("content-length", "content-type", "accept-ranges", "last-modified")


def _pack(text: bytes) -> bytes:
    return gzip.compress(text, _LEVEL, mtime=0)


def _unchanged(asked: Headers, etag: str) -> bool:
    known = [tag.strip().removeprefix("W/") for tag in asked.get("if-none-match", "").split(",")]
    return bool(etag) and etag.removeprefix("W/") in known


def _without(headers: MutableHeaders, *names: str) -> list[tuple[bytes, bytes]]:
    left_out = {name.encode() for name in names}
    return [(name, value) for name, value in headers.raw if name.lower() not in left_out]
