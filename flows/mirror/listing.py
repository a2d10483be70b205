"""Listing: which repos a query asks for, in which order, a page at a time.

Knows: the Hub's filters, sort keys and cursors. Does not know: JSON rows, links, where repos lie.
"""

from __future__ import annotations

import base64
import json
import threading
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from starlette.datastructures import QueryParams

from flows.mirror.accounts import Account
from flows.mirror.repo import inner_id
from flows.mirror.shelf import Row, Shelf
from flows.mirror.wire import Refusal

PAGE_MAX = 1000
Key = tuple[int | str, ...]
T = TypeVar("T")

_ORDERS_KEPT = 8

_SORTS: dict[str, Callable[[Row], int]] = {
    "trendingScore": lambda repo: 0,
    "downloads": lambda repo: repo.downloads,
    "likes": lambda repo: repo.likes,
    "lastModified": lambda repo: repo.modified_ms,
    "createdAt": lambda repo: repo.created_ms,
}


@dataclass(frozen=True, slots=True)
class Query:
    """A listing's query, checked."""

    filters: tuple[str, ...]
    author: str
    search: str
    pipeline: str
    gated: bool | None
    sort: str
    direction: int
    limit: int
    after: Key | None

    def wants(self, repo: Row) -> bool:
        return (
            all(map(repo.tags.__contains__, self.filters))
            and self.author in ("", repo.namespace)
            and (not self.search or self.search in repo.id.lower())
            and self.pipeline in ("", repo.pipeline)
            and self.gated in (None, bool(repo.gated))
        )

    def key(self, repo: Row) -> Key:
        """Where the repo stands in the order; its `_id` breaks ties, so that a page never skips or repeats."""
        return (self.sort, self.direction * _SORTS[self.sort](repo), inner_id(repo.first_id))


def read_query(params: QueryParams) -> Query:
    """The query, or a refusal that names the wrong parameter."""
    sort, direction = params.get("sort", "trendingScore"), params.get("direction", "-1")
    if sort not in _SORTS or direction not in ("-1", "1"):
        raise Refusal(400, f"Invalid sort: expected one of {sorted(_SORTS)}, direction -1 or 1")
    gated = params.get("gated")
    return Query(
        filters=tuple(tag for given in params.getlist("filter") for tag in given.split(",") if tag),
        author=params.get("author", ""),
        search=params.get("search", "").lower(),
        pipeline=params.get("pipeline_tag", ""),
        gated=None if gated is None else truthy(gated),
        sort=sort,
        direction=int(direction),
        limit=read_limit(params, PAGE_MAX),
        after=read_cursor(params),
    )


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a listing: its rows, the cursor of the next page, and how many repos lie before it."""

    rows: Sequence[Row]
    cursor: str | None
    depth: int


class Orders:
    """Pages of a shelf. An order is sorted once an edition: the twentieth page needs no twentieth sort."""

    def __init__(self, shelf: Shelf) -> None:
        self.shelf = shelf
        self._lock = threading.Lock()
        self._edition = -1
        self._kept: dict[tuple[Query, Account], list[Row]] = {}

    def page(self, query: Query, account: Account) -> Page:
        """The rows after the query's cursor that this account may see, at most `limit`."""
        if query.after is not None and query.after[0] != query.sort:
            raise Refusal(400, "Invalid cursor: it belongs to another order")
        order = self._order(replace(query, limit=0, after=None), account)
        begin = _place(order, query)
        end = begin + query.limit
        cursor = _cursor(query.key(order[end - 1])) if end < len(order) else None
        return Page(order[begin:end], cursor, begin)

    def _order(self, query: Query, account: Account) -> list[Row]:
        with self._lock:  # whoever comes second waits for the first one's sort
            edition, rows = self.shelf.rows()
            if edition != self._edition:
                self._edition = edition
                self._kept.clear()
            order = self._kept.pop((query, account), None)
            if order is None:
                order = _sorted(rows, query, account)
            self._kept[query, account] = order
            if len(self._kept) > _ORDERS_KEPT:
                del self._kept[next(iter(self._kept))]
            return order


def _sorted(rows: Sequence[Row], query: Query, account: Account) -> list[Row]:
    """The rows wanted, by `query.key`: sorted twice, as that is three times faster than by pairs."""
    wanted = [row for row in rows if query.wants(row) and account.sees(row)]
    wanted.sort(key=lambda row: inner_id(row.first_id))
    wanted.sort(key=_SORTS[query.sort], reverse=query.direction < 0)
    return wanted


def _place(order: Sequence[Row], query: Query) -> int:
    """How many rows of an order lie before the query's page."""
    try:
        return 0 if query.after is None else bisect_right(order, query.after, key=query.key)
    except TypeError as error:  # a made-up cursor
        raise Refusal(400, "Invalid cursor") from error


def cut(rows: Sequence[T], key: Callable[[T], Key], limit: int, after: Key | None) -> tuple[list[T], str | None]:
    """The rows after a cursor, at most `limit`, and the next cursor if rows are left."""
    try:
        left = [row for row in rows if after is None or key(row) > after]
    except TypeError as error:  # a cursor of another order, or a made-up one
        raise Refusal(400, "Invalid cursor") from error
    page = left[:limit]
    return page, _cursor(key(page[-1])) if len(left) > limit else None


def truthy(value: str | None) -> bool:
    return (value or "").lower() in ("true", "1")


def read_limit(params: QueryParams, maximum: int) -> int:
    given = params.get("limit", "") or str(maximum)
    if not (given.isascii() and given.isdigit() and int(given[:9]) > 0):
        raise Refusal(400, "Invalid limit: expected a whole number above 0")
    return min(int(given[:9]), maximum)


def _cursor(key: Key) -> str:
    return base64.urlsafe_b64encode(json.dumps(key).encode()).decode()


def read_cursor(params: QueryParams) -> Key | None:
    """The place a cursor points at; cursors are opaque to clients, and hostile when they come back."""
    if (given := params.get("cursor")) is None:
        return None
    try:
        key = json.loads(base64.urlsafe_b64decode(given))
    except (ValueError, RecursionError) as error:
        raise Refusal(400, "Invalid cursor") from error
    if not isinstance(key, list) or not key or not all(isinstance(part, (int, str)) for part in key):
        raise Refusal(400, "Invalid cursor")
    return tuple(key)
