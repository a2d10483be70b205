"""The session: the one HTTP client that huggingface_hub uses in this process, with our bounds on it.

Knows: which window of a hub a request spends from, what answers say of the windows, bounds on every body, how many
requests were made. Does not know: the Hub's routes, retries, errors for people (catalog/hub/transport,
catalog/hub/errors).

huggingface_hub reads HF_HOME and friends at import, so this module is imported where it is used. Hooks on its client
see its own requests too (a download's HEAD, say), so that bounds and budgets hold for every one.

Xet is not used (docs/decisions/0020-xet.md): in our downloads the headers that offer it are removed, and the client
follows the plain redirect to the file host beside them.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from http.cookiejar import CookieJar, DefaultCookiePolicy
from threading import Lock

os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")

import httpx2
from huggingface_hub import constants, set_client_factory
from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled
from huggingface_hub.utils import (  # type: ignore[attr-defined]  # public, though not so marked
    hf_raise_for_status,
    parse_ratelimit_headers,
)

from catalog.errors import HubError, HubTrouble
from catalog.hub.bodies import check_status, take_over
from catalog.hub.budget import KINDS, Budget, Kind
from catalog.hub.deadline import Deadline, make_punctual, within
from catalog.hub.errors import NO_HUB, is_passing, origin

BODY_LIMIT = 64 << 20  # bytes of any body that nobody set another bound for
HTTP_LIMIT = 50_000_000_000  # bytes: the Hub gives no larger file over plain HTTP
LEAST_RATE = 32 << 10  # bytes a second that a download must bring to go on beyond its deadline
_LONGEST_ETAG = 200
_CACHED = "/api/resolve-cache/"  # where the Hub's redirect for a text file leads
_ROUTES = re.compile(rf"{_CACHED}|/resolve/|/api/(?:models|datasets|spaces|whoami-v2)(?:/|$)")


@dataclass(slots=True)
class RequestCount:
    """Requests made by this process: calls of the API, of file (resolve) routes; bytes of bounded reads."""

    api: int = 0
    file: int = 0
    bytes: int = 0
    _lock: Lock = field(default_factory=Lock, repr=False)

    def note(self, request: httpx2.Request) -> None:
        """Count one request by its route; readers on several threads share the count."""
        kind = spent_by(request)
        with self._lock:
            self.file += kind == "resolvers"
            self.api += kind == "api"

    def read(self, size: int) -> None:
        """Count the bytes of one bounded read."""
        with self._lock:
            self.bytes += size


@dataclass(slots=True)
class _Bounds:
    """What the bodies of a thread's requests may have: bytes, unpacked; and for a download, what it is called."""

    limit: int
    deadline: Deadline
    download: str = ""

    def count(self, size: int, so_far: int) -> None:
        """One more piece of a body came; raises HubError where that is too much."""
        if so_far > self.limit:
            raise too_large(self.download, so_far, self.limit)
        if self.download:
            self.deadline.earn(size / LEAST_RATE)


class Passing(Exception):
    """Trouble with a download, raised past the client.

    The client would catch any error of its own and ask again by itself, many times, for as long as a header says.
    """

    def __init__(self, error: httpx2.HTTPError) -> None:
        super().__init__(str(error))
        self.error = error


COUNT = RequestCount()
BUDGETS: dict[tuple[str, str], Budget] = {}
_BOUNDS: ContextVar[_Bounds | None] = ContextVar("bounds", default=None)


@contextmanager
def bounded(seconds: float, limit: int = BODY_LIMIT, download: str = "") -> Iterator[None]:
    """Within it, no body of this thread's requests has more than `limit` bytes, and all end after so many seconds.

    Args:
        download: name of the file that is downloaded. It comes unpacked, without Xet, and may last longer than
            `seconds` while it brings LEAST_RATE. A file that is announced as too large is refused at once.
    """
    with within(seconds) as deadline:
        token = _BOUNDS.set(_Bounds(limit, deadline, download))
        try:
            yield
        finally:
            _BOUNDS.reset(token)


def window_of(request: httpx2.Request) -> Kind | None:
    """Which window of the hub a request is about; None for what no limit covers (the file host)."""
    path = request.url.path
    told = _ROUTES.search(path)  # the first: a prefix of the endpoint, or a file's folder, may be called api
    if told:
        return "resolvers" if "resolve" in told[0] else "api"
    return "api" if path.startswith("/api/") else None


def spent_by(request: httpx2.Request) -> Kind | None:
    """Which window a request is taken off here. The Hub's own redirect costs nothing: it was paid for before."""
    told = _ROUTES.search(request.url.path)
    return None if told and told[0] == _CACHED else window_of(request)


def seconds_asked(headers: httpx2.Headers) -> float | None:
    """Seconds that an answer asks us to wait: Retry-After, or the rest of a window with nothing left."""
    named, limit = headers.get("retry-after", ""), parse_ratelimit_headers(headers)
    if named.isdecimal() and len(named) < 10:
        return float(named)
    return float(limit.reset_in_seconds) if limit and not limit.remaining else None


def too_large(name: str, size: int, limit: int) -> HubError:
    """Why a file is not downloaded: its size."""
    if size > HTTP_LIMIT:
        return HubError(
            f"{name} has {size / 1e9:,.1f} GB; over plain HTTP the Hub gives no more than 50 GB.",
            "Fetch it with `hf download --cache-dir $LORAUTER_HOME/hub`, or choose a copy in smaller files.",
        )
    return HubError(
        f"{name or 'an answer'} has {size:,} bytes or more, the limit is {limit:,}.",
        "Leave it out; no setting raises this limit.",
    )


def _before(request: httpx2.Request) -> None:
    """Hook: spend from the budget of the hub that is asked; a download asks for plain bytes."""
    if constants.is_offline_mode():
        raise OfflineModeIsEnabled(f"Cannot reach {request.url}: offline mode is enabled.")
    bounds = _BOUNDS.get()
    if bounds:
        _ask_for_what_we_unpack(request, bounds)
    kind, budget = spent_by(request), BUDGETS.get(_caller(request))
    if kind and budget:
        began = time.monotonic()
        budget.spend(kind)
        if bounds:  # a wait for the next window is not the answer's fault
            bounds.deadline.earn(time.monotonic() - began)
    COUNT.note(request)


def _ask_for_what_we_unpack(request: httpx2.Request, bounds: _Bounds) -> None:
    if bounds.download and bounds.deadline.left() <= 0:  # the client would go on asking
        raise HubTrouble(f"{bounds.download} drips.", "Try again later; what was read is kept.")
    if bounds.download or "range" in request.headers:
        request.headers["Accept-Encoding"] = "identity"
    elif request.headers.get("Accept-Encoding") != "identity":
        request.headers["Accept-Encoding"] = "gzip"


def _after(response: httpx2.Response) -> None:
    """Hook: learn what the answer says of the budget, and bound its body."""
    kind, budget = window_of(response.request), BUDGETS.get(_caller(response.request))
    if budget:
        _learn(budget, kind, response)
    bounds = _BOUNDS.get()
    if bounds is None:
        return
    so_far = 0

    def count(size: int) -> None:
        nonlocal so_far
        so_far += size
        bounds.count(size, so_far)

    try:
        check_status(response)
        take_over(response, count)
        if bounds.download:
            _look_at_download(response, bounds)
    except (httpx2.RemoteProtocolError, HfHubHTTPError) as error:
        if bounds.download:
            raise Passing(error) from error
        raise


def _look_at_download(response: httpx2.Response, bounds: _Bounds) -> None:
    """Refuse a file that says it is too large before a byte of it comes; leave nothing of Xet to the client.

    The client makes a file's name of an ETag: one that leads elsewhere chose what would be written.
    """
    headers = response.headers
    if is_passing(response.status_code):
        hf_raise_for_status(httpx2.Response(response.status_code, headers=headers, request=response.request))
    for name in ("etag", "x-linked-etag"):
        if not _is_file_name(headers.get(name, "")):
            raise HubError(f"{bounds.download}: the hub names a path as its version.", NO_HUB)
    size = headers.get("x-linked-size", "") or (headers.get("content-length", "") if response.is_success else "")
    told = int(size[:19]) if size.isdecimal() else 0
    if response.request.method in ("HEAD", "GET") and told > min(bounds.limit, HTTP_LIMIT):
        raise too_large(bounds.download, told, bounds.limit)
    for name in ("x-xet-hash", "x-xet-refresh-route"):
        headers.pop(name, None)


def _is_file_name(etag: str) -> bool:
    name = etag.removeprefix("W/").strip('"')
    return len(name) <= _LONGEST_ETAG and not re.search(r"^[W/]*\"*/|[\\\0]|(^|/)\.\.?(/|$)", name)


def _learn(budget: Budget, kind: Kind | None, response: httpx2.Response) -> None:
    told = parse_ratelimit_headers(response.headers)
    if told and told.resource_type in KINDS:
        length = float(told.window_seconds) if told.window_seconds else None
        budget.learn(told.resource_type, told.remaining, told.reset_in_seconds, told.limit, length)
    if kind and response.status_code == 429:
        budget.refused(kind, seconds_asked(response.headers))
    elif kind and response.is_success:
        budget.answered(kind)


def is_budgeted(request: httpx2.Request) -> bool:
    """Whether a budget of ours paces requests like it; the hub may have sent us on to another address."""
    return window_of(request) is not None and _caller(request) in BUDGETS


def _caller(request: httpx2.Request) -> tuple[str, str]:
    """Whose budget a request spends from: the origin asked, and as whom."""
    return origin(str(request.url)), request.headers.get("authorization", "")


def _our_client() -> httpx2.Client:
    # No cookies: one would tell the next caller, who may have another token or none, from all others.
    jar = CookieJar(DefaultCookiePolicy(allowed_domains=()))
    client = httpx2.Client(follow_redirects=True, timeout=None, cookies=jar)
    client.event_hooks = {"request": [_before], "response": [_after]}
    return make_punctual(client)


set_client_factory(_our_client)
