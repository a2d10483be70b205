"""Finding: an adapter's weights by its key, and whose the fault is where they cannot be had.

Knows: keys, folders. Does not know: banks, bases.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from catalog.errors import UnsupportedAdapter
from lorauter.adapters.weights import AdapterWeights, read_adapter

FindAdapter = Callable[[str], "Path | AdapterWeights"]
"""Adapter key → its folder, or its weights where they are made and not read."""


def weights_of(key: str, find: FindAdapter, passing: Collection[str] = ()) -> AdapterWeights:
    """An adapter's weights, read where `find` gives a folder, letting `passing` reasons pass.

    Raises:
        UnsupportedAdapter: as `read_adapter`.
    """
    source = find(key)
    return source if isinstance(source, AdapterWeights) else read_adapter(source, passing)


@contextmanager
def naming(key: str) -> Iterator[None]:
    """Says whose the fault is."""
    try:
        yield
    except UnsupportedAdapter as error:
        raise UnsupportedAdapter(f"{key}: {error.cause}", error.next_step) from error
