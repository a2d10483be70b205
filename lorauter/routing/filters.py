"""Filters at route time: which adapters of a snapshot a router may use, by licence, size and author.

Knows: what the options ask and what the snapshot says of an adapter. Does not know: what takes the place of one that
does not pass (lorauter/routing/fallback), how a router weighs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from catalog.adapters.adapter import AdapterId
from warehouse.records.published import AdapterRow, read_published

if TYPE_CHECKING:
    from lorauter.routing.routes import RouterOptions
    from warehouse.snapshots.snapshot import Snapshot

_TOLD = 5  # licences named to those who asked for another


def refused(snapshot: Snapshot, base: str, options: RouterOptions) -> dict[str, str]:
    """Adapters of a base that do not pass, each with every reason, in words.

    Licences and authors compare without case. What is not known does not pass.
    """
    if not filters_of(options):
        return {}
    rows = read_published(snapshot, AdapterRow, base)
    reasons = {row.adapter: "; ".join(_reasons(row, options)) for row in rows}
    return {key: reason for key, reason in reasons.items() if reason}


def filters_of(options: RouterOptions) -> dict[str, Any]:
    """The filters that are asked for, by name; empty where every adapter passes."""
    asked = {
        "licences": list(options.licences),
        "max_bytes": options.max_bytes,
        "authors": list(options.authors),
        "not_authors": list(options.not_authors),
    }
    return {name: value for name, value in asked.items() if value not in ([], None)}


def _reasons(row: AdapterRow, options: RouterOptions) -> Iterator[str]:
    licence, size, author = row.licence, row.size, _author(row)
    if options.licences and not (licence and _among(licence, options.licences)):
        stated = f"licence {licence}" if licence else "licence unknown"
        yield f"{stated}, not among {', '.join(options.licences)}"
    if options.max_bytes is not None and (size is None or size > options.max_bytes):
        stated = "size unknown" if size is None else f"{size:,} bytes"
        yield f"{stated}, at most {options.max_bytes:,} asked for"
    if options.authors and not _among(author, options.authors):
        yield f"author {author}, not among {', '.join(options.authors)}"
    if _among(author, options.not_authors):
        yield f"author {author} is left out"


def _author(row: AdapterRow) -> str:
    return AdapterId.parse(row.adapter).repo.partition("/")[0]


def _among(name: str, names: tuple[str, ...]) -> bool:
    return name.strip().lower() in {other.strip().lower() for other in names}


def unmatched(snapshot: Snapshot, base: str, options: RouterOptions) -> list[str]:
    """What the filters name that no admitted adapter of the base has, a sentence each: a slip of the pen, maybe."""
    if not filters_of(options):
        return []
    rows = [row for row in read_published(snapshot, AdapterRow, base) if row.admitted]
    licences = Counter(row.licence for row in rows if row.licence)
    authors = tuple({_author(row) for row in rows})
    frequent = ", ".join(name for name, _ in licences.most_common(_TOLD)) or "none is known"
    strange = [name for name in options.licences if not _among(name, tuple(licences))]
    unseen = [name for name in (*options.authors, *options.not_authors) if not _among(name, authors)]
    return [f"No adapter here has the licence {name!r}; the most frequent: {frequent}." for name in strange] + [
        f"No adapter here is by {name!r}." for name in unseen
    ]
