"""Reading members: adapter folders by key, the last few kept, so that merges of the same adapters read each once.

Knows: folders and keys. Does not know: merges, banks.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import lru_cache
from pathlib import Path

from catalog.errors import UnsupportedAdapter
from lorauter.adapters.weights import AdapterWeights, read_adapter


def reader(
    find: Callable[[str], Path], most: int = 16, passing: Collection[str] = ()
) -> Callable[[str], AdapterWeights]:
    """A function from key to weights, on the CPU as stored, that remembers the `most` last used.

    Args:
        find: gives the folder of an adapter's key.
        passing: reasons that are let pass, as of `read_adapter`.

    Raises:
        UnsupportedAdapter: by the function, as `read_adapter`; the cause names the key.
    """

    @lru_cache(maxsize=most)
    def read(key: str) -> AdapterWeights:
        try:
            return read_adapter(find(key), passing)
        except UnsupportedAdapter as error:
            raise UnsupportedAdapter(f"{key}: {error.cause}", error.next_step) from error

    return read
