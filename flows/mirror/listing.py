"""Listing: which repos a query asks for, in which order, a page at a time.

Knows: the Hub's filters, sort keys and cursors. Does not know: JSON rows, links, who may see a repo.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from starlette.datastructures import QueryParams

from flows.mirror.repos import Repo
from flows.mirror.wire import Refusal

PAGE_MAX = 1000
Key = tuple[int | str, ...]
T = TypeVar("T")

_SORTS: dict[str, Callable[[Repo], int]] = {
    "trendingScore": lambda repo: 0,
    "downloads": lambda repo: repo.sidecar.downloads,
    "likes": lambda repo: repo.sidecar.likes,
    "lastModified": lambda repo: int(repo.modified.timestamp() * 1000),
    "createdAt": lambda repo: int(repo.created.timestamp() * 1000),
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

    def wants(self, repo: Repo) -> bool:
        return (
            set(self.filters) <= set(repo.tags)
            and self.author in ("", repo.namespace)
            and self.search in repo.id.lower()
            and self.pipeline in ("", repo.facts.pipeline)
            and self.gated in (None, bool(repo.gated))
        )

    def key(self, repo: Repo) -> Key:
        """Where the repo stands in the order; the id breaks ties, so that a page never skips or repeats."""
        return (self.sort, self.direction * _SORTS[self.sort](repo), repo.id)


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


def pick(repos: Iterable[Repo], query: Query) -> tuple[list[Repo], str | None]:
    """One page of the repos that the query wants, and the cursor of the next."""
    if query.after is not None and query.after[0] != query.sort:
        raise Refusal(400, "Invalid cursor: it belongs to another order")
    wanted = sorted((repo for repo in repos if query.wants(repo)), key=query.key)
    return cut(wanted, query.key, query.limit, query.after)


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
