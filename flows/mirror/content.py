"""Content: bytes that lie in no file, read a piece at a time and sent whole or as one range.

Knows: Range, If-Range and their answers. Does not know: what the bytes mean, who may have them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

_PIECE_BYTES = 256 << 10
_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")


class Content(Protocol):
    """Bytes by their place."""

    @property
    def size(self) -> int: ...

    def read(self, start: int, stop: int) -> bytes:
        """The bytes from `start` up to `stop`, which lies inside."""


@dataclass(frozen=True, slots=True)
class Text:
    """The content of a small file."""

    content: bytes

    @property
    def size(self) -> int:
        return len(self.content)

    def read(self, start: int, stop: int) -> bytes:
        return self.content[start:stop]


@dataclass(frozen=True, slots=True)
class Bytes:
    """The content of a file on the disk."""

    path: Path
    size: int

    def read(self, start: int, stop: int) -> bytes:
        with self.path.open("rb") as file:
            file.seek(start)
            return file.read(stop - start)


def read_all(content: Path | Content) -> bytes:
    """All of a small file."""
    if isinstance(content, Path):
        return content.read_bytes()
    pieces, start = [], 0
    while start < content.size:
        pieces.append(content.read(start, content.size))
        start += len(pieces[-1])
    return b"".join(pieces)


class ContentResponse(Response):
    """The content, or the one range of it that was asked for; several ranges get all of it, as RFC 9110 lets us."""

    def __init__(self, content: Content, headers: Mapping[str, str], media_type: str) -> None:
        self.content = content
        self.status_code, self.background, self.body, self.media_type = 200, None, b"", media_type
        self.init_headers(headers)
        self.headers["Accept-Ranges"] = "bytes"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        size = self.content.size
        start, stop = self._place(Headers(scope=scope))
        if start >= stop and self.status_code == 206:
            self.status_code, start, stop = 416, 0, 0
            self.headers["Content-Range"] = f"bytes */{size}"
        elif self.status_code == 206:
            self.headers["Content-Range"] = f"bytes {start}-{stop - 1}/{size}"
        self.headers["Content-Length"] = str(stop - start)
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        while scope["method"] != "HEAD" and start < stop:
            piece = self.content.read(start, min(stop, start + _PIECE_BYTES))
            start += len(piece)
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    def _place(self, asked: Headers) -> tuple[int, int]:
        """Where to begin and stop; `start >= stop` of a range is one that the content has not."""
        size = self.content.size
        found = _RANGE.fullmatch(asked.get("range", "").replace(" ", ""))
        if found is None or found.groups() == ("", "") or asked.get("if-range", self._etag) != self._etag:
            return 0, size
        self.status_code = 206
        first, last = found.groups()
        if not first:
            return max(0, size - int(last)), size
        return int(first), min(size, int(last) + 1 if last else size)

    @property
    def _etag(self) -> str | None:
        return self.headers.get("etag")
