"""Splits: what a file's name says of its rows, and how many rows a split gets.

Knows: the names that data sets use, how rows are dealt out. Does not know: what is in a row.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from catalog.errors import TaskError
from catalog.tasks.task import content_hash
from warehouse.tasks.labelled_rows import SPLITS, LabelledRow

_NAMED = re.compile(r"(train|training|validation|valid|val|dev|test)(?=[-_.]|$)", re.IGNORECASE)
_USUAL = {"training": "train", "valid": "validation", "val": "validation", "dev": "validation"}
_ORDER = ("validation", "test", "train")


def split_of(stem: str) -> str | None:
    """The split that a file's name begins with: validation.jsonl, test-00000-of-00001.parquet, dev_2.csv."""
    named = _NAMED.match(stem)
    return _USUAL.get(named[1].lower(), named[1].lower()) if named else None


def deal(
    where: object, rows: Sequence[LabelledRow], counts: Mapping[str, int]
) -> tuple[dict[str, list[LabelledRow]], int]:
    """Rows by split, `counts` of each where given, and how many rows of no split are left over.

    A split with a count takes its own rows; where no row names it, it takes rows without a split, else rows of train,
    else rows of test. No row is taken twice. Those with the lowest hashes of their inputs are taken: the same rows in
    any order give the same splits. Where validation has no count, the rows without a split that are left are its own.
    """
    named = {split: [row for row in rows if row.split == split] for split in SPLITS}
    loose = [row for row in rows if row.split is None]
    for split in _ORDER:
        if split in counts:
            source = next((s for s in (named[split], loose, named["train"], named["test"]) if s), loose)
            named[split] = _draw(where, split, source, counts[split])
    if "validation" not in counts:
        named["validation"] += loose
        loose = []
    return named, len(loose)


def _draw(where: object, split: str, source: list[LabelledRow], wanted: int) -> list[LabelledRow]:
    """The first `wanted` rows by hash of their inputs, taken out of their source; equal inputs stay side by side."""
    if len(source) < wanted:
        raise TaskError(
            f"{where}: {wanted} {split} examples are asked for, there are {len(source)} to draw from.",
            f"Ask for fewer with --{split}, or add rows; nothing was stored.",
        )
    ordered = sorted(source, key=lambda row: (content_hash(row.example.input), row.example.id))
    source[:] = ordered[wanted:]
    return ordered[:wanted]
