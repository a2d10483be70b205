"""Batches: rows cut into what the engine computes at once, and a batch halved where memory runs out.

Knows: lengths, bounds, which adapters a row needs. Does not know: tensors, texts, or how much memory there is
(lorauter/engine/memory_budget).

Which rows share a batch decides bits in bfloat16, so the cut is a pure function of the rows and the bounds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

# Rows among which a batch's are chosen. Fewer cost padding, more cost taller stacks of adapters.
TILE_ROWS = 512


@dataclass(frozen=True, slots=True)
class RowSize:
    """What a row costs, as `plan_batches` sees it.

    Args:
        prompt_tokens: its prompt's length.
        max_new_tokens: the bound of its answer.
        adapters: the keys of its mixture.
    """

    prompt_tokens: int
    max_new_tokens: int
    adapters: tuple[str, ...] = ()


def plan_batches(
    rows: Sequence[RowSize],
    token_budget: int,
    max_rows: int,
    max_adapters: int = 64,
    tile_rows: int = TILE_ROWS,
) -> list[list[int]]:
    """Cuts rows into batches: a pure function of its arguments.

    Rows are dealt into tiles by adapter, and a tile's rows into batches by length. A tile has no more adapters
    than the bank holds, so that a pool of any size is read once, and batches have little padding all the same.
    That holds for rows of one adapter each; mixtures that share adapters may have some read again.

    Args:
        rows: their sizes.
        token_budget: bound on rows × (longest prompt + longest answer), padding included; a row over it gets a batch of
            its own.
        max_rows: bound on rows a batch.
        max_adapters: bound on distinct adapters a batch, and a tile where its adapters have several rows; a row with
            more has a batch of its own.
        tile_rows: bound on the rows of a tile; those of one mixture stay together.

    Returns:
        Batches of indices into `rows`; every index once.
    """
    tiles = _tiles(rows, max_adapters, tile_rows)
    return [batch for tile in tiles for batch in _cut(rows, tile, token_budget, max_rows, max_adapters)]


def _tiles(rows: Sequence[RowSize], max_adapters: int, tile_rows: int) -> list[list[int]]:
    """Rows by mixture, mixtures in the order of their keys.

    Adapters with a single row each are read once in any order: where they are many, they come last, in tiles of any
    number of adapters.
    """
    by_mixture: dict[tuple[str, ...], list[int]] = {}
    for index, row in enumerate(rows):
        by_mixture.setdefault(row.adapters, []).append(index)
    singles = [keys for keys, alike in by_mixture.items() if len(keys) == len(alike) == 1]
    last = [by_mixture.pop(keys)[0] for keys in sorted(singles)] if len(singles) > max_adapters else []
    tiles: list[list[int]] = []
    held = set[str]()
    for keys in sorted(by_mixture):
        alike = by_mixture[keys]
        held |= set(keys)
        if tiles and len(held) <= max_adapters and len(tiles[-1]) + len(alike) <= tile_rows:
            tiles[-1] += alike
        else:
            tiles.append(alike)
            held = set(keys)
    return tiles + [last[start : start + tile_rows] for start in range(0, len(last), tile_rows)]


def _cut(
    rows: Sequence[RowSize], tile: Sequence[int], token_budget: int, max_rows: int, max_adapters: int
) -> list[list[int]]:
    """A tile's rows by length, cut into batches."""
    batches: list[list[int]] = []
    longest, adapters = 0, set[str]()
    for index in sorted(tile, key=lambda i: (rows[i].max_new_tokens, rows[i].prompt_tokens, rows[i].adapters, i)):
        row = rows[index]
        size = row.prompt_tokens + row.max_new_tokens
        longest, adapters = max(longest, size), adapters | set(row.adapters)
        count = len(batches[-1]) + 1 if batches else 0
        if 0 < count <= max_rows and count * longest <= token_budget and len(adapters) <= max_adapters:
            batches[-1].append(index)
        else:
            batches.append([index])
            longest, adapters = size, set(row.adapters)
    return batches


def halving_out_of_memory(
    batch: Sequence[int], run: Callable[[Sequence[int]], None], halved: Callable[[int], None]
) -> None:
    """Runs a batch; where that runs out of memory, its two halves, and so on down to single rows.

    Args:
        batch: indices of rows.
        run: computes some of them, all or nothing.
        halved: hears of each batch that was too large, by its rows.

    Raises:
        What `run` raises, out of memory with a single row included.
    """
    waiting = [batch]
    while waiting:
        part = waiting.pop()
        if _fits(part, run):
            continue
        halved(len(part))
        middle = len(part) // 2
        waiting += [part[middle:], part[:middle]]


def _fits(part: Sequence[int], run: Callable[[Sequence[int]], None]) -> bool:
    """Whether it ran. By the time this returns, what the failed try held is free."""
    try:
        run(part)
    except (RuntimeError, MemoryError) as error:
        if len(part) == 1 or not is_out_of_memory(error):
            raise
        return False
    return True


def is_out_of_memory(error: Any) -> bool:
    """Whether torch ran out of memory, on a device or on the host, where it only says so in words."""
    told = str(error).lower()
    return isinstance(error, MemoryError) or "out of memory" in told or "can't allocate memory" in told
