"""Bodies: the bytes of an answer, plain or gzip, as they arrive. They are bounded, and one that breaks off is an error.

Knows: how a body is unpacked and when it has ended. Does not know: which requests are made, and with what bounds
(catalog/hub/session, catalog/hub/transport).

The Hub sends text gzip-packed, in chunks, without a length. So a bound counts the bytes that come, packed and
unpacked, and never what a header announces. A packed body that stops before its end is incomplete, however the
connection ended.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import cast

import httpx2

_GZIP = 16 + zlib.MAX_WBITS
_PIECE = 64 << 10  # bytes unpacked at a time: a bomb swells no further before it is counted


class Arriving(httpx2.SyncByteStream):
    """The body of an answer as it comes, unpacked.

    Args:
        stream: the answer's own.
        packed: whether it is gzip.
        count: told, in pieces, how many bytes came or how many they swelled to, whichever is more; raises where that is
            too much.
    """

    def __init__(self, stream: httpx2.SyncByteStream, packed: bool, count: Callable[[int], None]) -> None:
        self._stream, self._packed, self._count = stream, packed, count
        self._counted = 0

    def __iter__(self) -> Iterator[bytes]:
        # What swells to nothing counts as it came: gzip may hold a name without an end.
        came = self._noted(self._stream)
        return self._noted(_unpacked(came)) if self._packed else came

    def _noted(self, pieces: Iterable[bytes]) -> Iterator[bytes]:
        """The pieces, counted as far as more have come by them than were counted before."""
        so_far = 0
        for piece in pieces:
            so_far += len(piece)
            if (more := so_far - self._counted) > 0:
                self._counted = so_far
                self._count(more)
            yield piece

    def close(self) -> None:
        """Let go of the connection."""
        self._stream.close()


def check_status(response: httpx2.Response) -> None:
    """Raise where an answer is neither a body, nor the piece that was asked for, nor a refusal, nor a redirect."""
    request, status = response.request, response.status_code
    if request.method not in ("GET", "HEAD") or response.is_error or response.has_redirect_location:
        return
    if status not in (200, 206):
        raise httpx2.RemoteProtocolError(f"status {status} brings nothing", request=request)
    range_asked = re.match(r"bytes=(\d+)-", request.headers.get("range", ""))
    told = re.match(r"bytes (\d{1,18})-\d{1,18}/(?:\d{1,18}|\*)$", response.headers.get("content-range", ""))
    if status == 206 and (range_asked is None or told is None or int(told[1]) != int(range_asked[1])):
        raise httpx2.RemoteProtocolError("another range came than was asked for", request=request)


def take_over(response: httpx2.Response, count: Callable[[int], None]) -> None:
    """Let a response's body arrive through `Arriving`: its reader gets plain bytes, counted.

    The response's extension `packed` says whether it came as gzip.

    Raises httpx2.RemoteProtocolError for a packing that nobody asked for, or a packed piece of a file.
    """
    packing = response.headers.get("content-encoding", "identity").strip().lower() or "identity"
    if packing not in ("identity", "gzip", "x-gzip"):
        raise httpx2.RemoteProtocolError(f"the body is packed as {packing[:40]!r}", request=response.request)
    packed = response.extensions["packed"] = packing != "identity"
    if packed and response.status_code == 206:
        raise httpx2.RemoteProtocolError("a range came packed", request=response.request)
    if packed:  # the length is that of the packed body, and tells nothing of ours
        for name in ("content-encoding", "content-length"):
            response.headers.pop(name, None)
    response.stream = Arriving(cast(httpx2.SyncByteStream, response.stream), packed, count)  # no client here is async


def read_bounded(response: httpx2.Response, limit: int) -> bytes:
    """The first `limit` bytes of a body; the rest is left where it is."""
    data = bytearray()
    for chunk in response.iter_raw():
        data += chunk
        if len(data) >= limit:
            break
    return bytes(data[:limit])


def check_empty(response: httpx2.Response) -> None:
    """Raise where an answer says that it has nothing to give of a file that has something."""
    told = re.fullmatch(r"bytes \*/(\d{1,18})", response.headers.get("content-range", ""))
    if told and int(told[1]):
        raise httpx2.RemoteProtocolError(f"nothing came of {told[1]} bytes", request=response.request)


def check_whole(response: httpx2.Response, data: bytes, limit: int, json_only: bool) -> None:
    """Raise where an answer's own headers say that bytes are missing, or its JSON breaks off."""
    told = re.fullmatch(r"bytes 0-\d+/(\d{1,18})", response.headers.get("content-range", ""))
    if told and len(data) < min(limit, int(told[1])):
        raise httpx2.RemoteProtocolError(f"{len(data)} bytes came of {told[1]}", request=response.request)
    if json_only and response.headers.get("content-type", "").startswith("application/json"):
        try:
            json.loads(data)
        except ValueError as error:
            raise httpx2.RemoteProtocolError("the JSON breaks off", request=response.request) from error
        except RecursionError:
            return  # whole, and hostile: its reader will say so


def _unpacked(stream: Iterator[bytes]) -> Iterator[bytes]:
    """Raises httpx2.RemoteProtocolError for what is no gzip, or ends before its end."""
    unpacker = zlib.decompressobj(_GZIP)
    empty = True
    for chunk in stream:
        rest = chunk
        empty = empty and not chunk
        while rest:
            if unpacker.eof:  # gzip may hold several members end to end
                unpacker = zlib.decompressobj(_GZIP)
            try:
                piece = unpacker.decompress(rest, _PIECE)
            except zlib.error as error:
                raise httpx2.RemoteProtocolError(f"the body is no gzip ({str(error)[:80]})") from error
            rest = unpacker.unused_data if unpacker.eof else unpacker.unconsumed_tail
            if piece:
                yield piece
    while piece := unpacker.decompress(b"", _PIECE):
        yield piece
    if not unpacker.eof and not empty:
        raise httpx2.RemoteProtocolError("the gzip body breaks off")
