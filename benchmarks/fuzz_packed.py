"""Packed bodies for the fuzzer: how they are made and broken, and what must hold of what arrives.

Knows: gzip's layout, the standard library's own reading of it. Does not know: what is in the texts (fuzz_parsers).
"""

from __future__ import annotations

import gzip
import json
import random
import zlib
from collections.abc import Iterator

import httpx2

from catalog.errors import HubError
from catalog.hub.bodies import read_bounded, take_over

BOUND = 1 << 18  # bytes that a body may have
PIECE = 64 << 10  # bytes that may come at once
_MAGIC = b"\x1f\x8b"


class _Sent(httpx2.SyncByteStream):
    """A body in chunks of a size that the data decide."""

    def __init__(self, data: bytes) -> None:
        self._data, self._step = data, 1 + zlib.crc32(data) % 5_000

    def __iter__(self) -> Iterator[bytes]:
        yield from (self._data[at : at + self._step] for at in range(0, len(self._data), self._step))


def make_packed(chance: random.Random) -> bytes:
    """A gzip body: sound, cut, with flipped bits, with something behind it, of several members, or a bomb."""
    text = json.dumps([{"id": f"ann/{chance.randrange(1 << 30)}", "n": n} for n in range(chance.randrange(200))])
    whole = gzip.compress(text.encode(), chance.choice((0, 1, 9)))
    way = chance.randrange(7)
    if way == 1:
        return whole[: chance.randrange(len(whole))]
    if way == 2:
        changed = bytearray(whole)
        for _ in range(chance.randint(1, 4)):
            changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
        return bytes(changed)
    if way == 3:
        return whole + chance.choice((bytes(8), b"{}", _MAGIC, whole[:12], chance.randbytes(20)))
    if way == 4:
        return whole * chance.randint(2, 5)
    if way == 5:
        return _MAGIC + chance.randbytes(chance.randrange(200))
    return gzip.compress(bytes(BOUND * chance.randint(1, 40)), 9) if way == 6 else whole


def read_packed(data: bytes) -> str:
    """What comes of a body: "accepted", "cut or no gzip", "too large". Raises ValueError where a promise is broken."""
    so_far, largest = 0, 0

    def count(size: int) -> None:
        nonlocal so_far, largest
        so_far, largest = so_far + size, max(largest, size)
        if so_far > BOUND:
            raise HubError("too large")

    response = httpx2.Response(200, headers={"content-encoding": "gzip"}, stream=_Sent(data))
    take_over(response, count)
    try:
        read = read_bounded(response, BOUND * 2)
        outcome = "accepted"
    except HubError:
        outcome = "too large"
    except httpx2.RemoteProtocolError:
        outcome = "cut or no gzip"
    _demand(largest <= PIECE and so_far <= BOUND + PIECE, f"{so_far} bytes came, {largest} at once")
    theirs = _unpacked_by_library(data)
    if outcome == "accepted":
        _demand(theirs == read, "the library reads another text, or none")
    if outcome == "too large":
        _demand(theirs is None or len(theirs) > BOUND, "a small body is called too large")
    return outcome


def _unpacked_by_library(data: bytes) -> bytes | None:
    try:
        return gzip.decompress(data)
    except (EOFError, OSError, zlib.error):
        return None


def _demand(holds: bool, otherwise: str) -> None:
    if not holds:
        raise ValueError(otherwise)
