"""Xet: large files as a chunk storage hands them out: first what to fetch, then ranges of it.

Knows: Xet hashes, xorbs and reconstructions. Does not know: routes, permits, where a file's bytes come from.
A file's bytes are cut into chunks of 64 KiB, a thousand of them make a xorb, each chunk behind a header of eight bytes
and stored as it is. So the place of every byte is arithmetic and nothing is kept. The hashes are no true Xet hashes
(a tree of BLAKE3 over chunks cut by content): equal contents have equal ones, and no client computes them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from flows.mirror.content import Content
from flows.mirror.disk import HubFile

CHUNK_BYTES = 64 << 10
XORB_CHUNKS = 1_000  # 62.5 MiB; the limit is 64 MiB
XORB_BYTES = CHUNK_BYTES * XORB_CHUNKS
HEADER_BYTES = 8


def xet_hash(file: HubFile) -> str:
    """What names the file in the storage."""
    return hashlib.sha256(f"xet {file.sha256}".encode()).hexdigest()


def xorb_hash(file: HubFile, number: int) -> str:
    return hashlib.sha256(f"xorb {number} {file.sha256}".encode()).hexdigest()


def xorbs_of(size: int) -> int:
    return -(-size // XORB_BYTES)


@dataclass(frozen=True, slots=True)
class Xorb:
    """One xorb of a file, chunk headers and all."""

    content: Content
    number: int

    @property
    def _begin(self) -> int:
        return self.number * XORB_BYTES

    @property
    def _plain(self) -> int:
        return min(XORB_BYTES, self.content.size - self._begin)

    @property
    def size(self) -> int:
        return packed_bytes(self._plain)

    def read(self, start: int, stop: int) -> bytes:
        """The bytes from `start`, up to `stop` or the end of that chunk's header or data."""
        chunk, inside = divmod(start, HEADER_BYTES + CHUNK_BYTES)
        begin = chunk * CHUNK_BYTES
        length = min(CHUNK_BYTES, self._plain - begin)
        if inside < HEADER_BYTES:
            three = length.to_bytes(3, "little")  # version 0, length stored, scheme 0 (as it is), length of the data
            return (b"\0" + three + b"\0" + three)[inside : inside + stop - start]
        first = self._begin + begin + inside - HEADER_BYTES
        return self.content.read(first, min(first + stop - start, self._begin + begin + length))


def packed_bytes(plain: int) -> int:
    """How many bytes so many bytes of a file take in a xorb, from its beginning."""
    return plain + HEADER_BYTES * -(-plain // CHUNK_BYTES)


def reconstruction(file: HubFile, start: int, stop: int, address: Callable[[int], str]) -> dict[str, Any]:
    """What to fetch for the bytes from `start` to `stop`: the storage's second version of this answer.

    `address` gives a xorb's by its number. Chunks are whole, so the first one may begin before `start`.
    """
    terms, xorbs = [], {}
    at = begin = start - start % CHUNK_BYTES
    while at < stop:
        number, inside = divmod(at, XORB_BYTES)
        edge = min(-(-stop // CHUNK_BYTES) * CHUNK_BYTES, (number + 1) * XORB_BYTES, file.size) - number * XORB_BYTES
        chunks = {"start": inside // CHUNK_BYTES, "end": -(-edge // CHUNK_BYTES)}
        name = xorb_hash(file, number)
        terms.append({"hash": name, "unpacked_length": edge - inside, "range": chunks})
        bytes_ = {"start": packed_bytes(inside), "end": packed_bytes(edge) - 1}
        xorbs[name] = [{"url": address(number), "ranges": [{"chunks": chunks, "bytes": bytes_}]}]
        at = number * XORB_BYTES + edge
    return {"offset_into_first_range": start - begin, "terms": terms, "xorbs": xorbs}


def first_version(answer: dict[str, Any]) -> dict[str, Any]:
    """The same reconstruction as the storage's first version tells it."""
    fetch_info = {
        name: [
            {"range": part["chunks"], "url": fetch["url"], "url_range": part["bytes"]}
            for fetch in fetches
            for part in fetch["ranges"]
        ]
        for name, fetches in answer["xorbs"].items()
    }
    kept = {key: value for key, value in answer.items() if key != "xorbs"}
    return kept | {"fetch_info": fetch_info}
