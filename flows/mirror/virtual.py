"""Virtual files: safetensors files that are arithmetic, byte for byte, with their true sha256.

Knows: header, a block of numbers repeated, and a tail of its own for each file. Does not know: repos, names, HTTP.
Only the tail tells two files of one header apart. So their sha256 differ, and the hash of all before the tail is
computed once for all of them: the true hash of a 20 MB file costs microseconds.
"""

from __future__ import annotations

import hashlib
import random
import threading
from dataclasses import dataclass

from flows.mirror.llama import data_bytes

BLOCK_BYTES = 1 << 20
TAIL_BYTES = 1 << 10
# The upper byte of a bfloat16 with the sign kept and the exponent set: 0.008 to 0.03 either side of zero, never NaN.
_SMALL = bytes(0x3C | (byte & 0x80) for byte in range(256))


@dataclass(frozen=True, slots=True)
class Weights:
    """The content of one weights file."""

    header: bytes
    block: bytes
    tail: bytes
    size: int

    def read(self, start: int, stop: int) -> bytes:
        """The bytes from `start`, up to `stop` or the next seam between header, blocks and tail."""
        bulk, tail = len(self.header), self.size - len(self.tail)
        if start < bulk:
            return self.header[start:stop]
        if start >= tail:
            return self.tail[start - tail : stop - tail]
        begin = (start - bulk) % len(self.block)
        return self.block[begin : begin + min(stop, tail) - start]


class Mill:
    """Makes weights files of one seed, and hashes them."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._block = small_floats(random.Random(seed).randbytes(BLOCK_BYTES))
        self._zeros = bytes(BLOCK_BYTES)
        self._lock = threading.Lock()
        self._sizes: dict[bytes, int] = {}
        self._begun: dict[tuple[bytes, bool], hashlib._Hash] = {}

    def weights(self, header: bytes, name: str) -> Weights:
        """Random numbers under a header; another name gives another tail."""
        size = self._size(header)
        tail = hashlib.shake_256(f"{self._seed}/{name}".encode()).digest(min(TAIL_BYTES, size))
        return Weights(header, self._block, small_floats(tail), len(header) + size)

    def zeros(self, header: bytes) -> Weights:
        """Zeros under a header."""
        return Weights(header, self._zeros, b"", len(header) + self._size(header))

    def sha256(self, weights: Weights) -> str:
        """The true hash. The first of a header takes half a second a gigabyte, the others nothing."""
        key = (weights.header, weights.block is self._zeros)
        with self._lock:
            if key not in self._begun:
                self._begun[key] = _hash_before_tail(weights)
            whole = self._begun[key].copy()
        whole.update(weights.tail)
        return whole.hexdigest()

    def _size(self, header: bytes) -> int:
        if header not in self._sizes:
            self._sizes[header] = data_bytes(header)
        return self._sizes[header]


def small_floats(noise: bytes) -> bytes:
    """Noise as bfloat16 numbers, little-endian, finite and small."""
    floats = bytearray(noise)
    floats[1::2] = floats[1::2].translate(_SMALL)
    return bytes(floats)


def _hash_before_tail(weights: Weights) -> hashlib._Hash:
    begun, start, stop = hashlib.sha256(), 0, weights.size - len(weights.tail)
    while start < stop:
        piece = weights.read(start, stop)
        begun.update(piece)
        start += len(piece)
    return begun
