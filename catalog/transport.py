"""Transport: bounded requests to a hub through huggingface_hub's own session.

Knows: the budget and pace of a hub, bounds on time and bytes of every read, retries, how many requests were made.
Does not know: the Hub's routes and what answers mean (catalog/hub), how errors are told (catalog/hub_errors).

huggingface_hub reads HF_HOME and friends at import, so this module is imported where it is used. Its session does
all requests: proxies, certificates and tokens work as everywhere else. Hooks on the session see its own requests too
(a download's HEAD, say), so that the budget holds for every one. The token goes to the endpoint's own origin only;
the client drops it on a redirect to another.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import TypeVar
from urllib.parse import urljoin, urlsplit

os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")

import httpx2
from huggingface_hub import get_session, set_client_factory
from huggingface_hub.errors import HfHubHTTPError
from huggingface_hub.utils._headers import build_hf_headers
from huggingface_hub.utils._http import default_client_factory, hf_raise_for_status, parse_ratelimit_headers
from tenacity import RetryCallState, Retrying, retry_if_exception, wait_exponential_jitter

from catalog.budget import KINDS, Budget, Kind, Pace
from catalog.deadline import make_punctual, within
from catalog.errors import HubError
from catalog.hub_errors import NONSENSE, explain, is_down, is_transient

PUBLIC_ENDPOINT = "https://huggingface.co"
DOWN_ATTEMPTS = 3  # where nobody answers
ERROR_LIMIT = 64 << 10  # bytes of an error's body
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class HubOptions:
    """Where the hub is and how to speak to it.

    Args:
        endpoint: base address. token: access token, never shown. cache_dir: where downloads are kept.
        page_size: repos a listing page. timeout: seconds without a byte. deadline: seconds of one bounded read
            in all. attempts: tries a request. readers: most requests at once. max_bytes: of one downloaded file.
    """

    endpoint: str
    cache_dir: Path
    token: str | None = field(default=None, repr=False)
    page_size: int = 500
    timeout: float = 10.0
    deadline: float = 60.0
    attempts: int = 5
    readers: int = 16
    max_bytes: int = 64 << 30


@dataclass(slots=True)
class RequestCount:
    """Requests made by this process: calls of the API, of file (resolve) routes; bytes of bounded reads."""

    api: int = 0
    file: int = 0
    bytes: int = 0
    _lock: Lock = field(default_factory=Lock, repr=False)

    def note(self, request: httpx2.Request) -> None:
        """Count one request by its route; readers on several threads share the count."""
        kind = kind_of(request)
        with self._lock:
            self.file += kind == "resolvers"
            self.api += kind == "api"

    def read(self, size: int) -> None:
        """Count the bytes of one bounded read."""
        with self._lock:
            self.bytes += size


@dataclass(frozen=True, slots=True)
class Answer:
    """A bounded answer: at most the bytes asked for, the headers, those of the redirects before it, its address."""

    data: bytes
    headers: Mapping[str, str]
    redirects: tuple[Mapping[str, str], ...] = ()
    url: str = ""


COUNT = RequestCount()
_BUDGETS: dict[tuple[str, str], Budget] = {}
_DOWNLOAD_LIMIT: ContextVar[int | None] = ContextVar("download_limit", default=None)


def kind_of(request: httpx2.Request) -> Kind | None:
    """Which window a request spends from; None for what no limit covers (the LFS origin)."""
    if "/resolve/" in request.url.path and not request.url.path.startswith("/api/"):
        return "resolvers"
    return "api" if request.url.path.startswith("/api/") else None


def _before(request: httpx2.Request) -> None:
    """Hook: spend from the budget of the hub that is asked."""
    kind, budget = kind_of(request), _BUDGETS.get(_caller(request))
    if kind and budget:
        budget.spend(kind)
    COUNT.note(request)


def _after(response: httpx2.Response) -> None:
    """Hook: learn what the answer says of the budget; refuse a download without an end or beyond its bound."""
    kind, budget = kind_of(response.request), _BUDGETS.get(_caller(response.request))
    if kind and budget:
        _learn(budget, kind, response)
    limit, length = _DOWNLOAD_LIMIT.get(), response.headers.get("content-length", "")
    if limit is None or response.request.method != "GET" or response.status_code != 200:
        return
    if not length.isdecimal() or int(length) > limit:
        raise httpx2.RemoteProtocolError(f"a download of {length or 'unknown'} bytes, the limit is {limit}")


def _learn(budget: Budget, kind: Kind, response: httpx2.Response) -> None:
    told = parse_ratelimit_headers(response.headers)
    if told and told.resource_type in KINDS:
        length = float(told.window_seconds) if told.window_seconds else None
        budget.learn(told.resource_type, told.remaining, told.reset_in_seconds, told.limit, length)
    if response.status_code == 429:
        budget.refused(kind, _seconds_asked(response.headers) or 1.0)


def _caller(request: httpx2.Request) -> tuple[str, str]:
    """Whose budget a request spends from: the origin asked, and as whom."""
    return _origin(str(request.url)), request.headers.get("authorization", "")


def _origin(url: str) -> str:
    return "//".join(urlsplit(url)[:2]).lower()


def _counting_client() -> httpx2.Client:
    client = default_client_factory()
    client.event_hooks["request"].append(_before)
    client.event_hooks["response"].append(_after)
    return make_punctual(client)


set_client_factory(_counting_client)


class Transport:
    """Bounded, budgeted, retried requests to one hub as one caller."""

    def __init__(self, options: HubOptions) -> None:
        self.options = options
        # `token or False`: without one of ours the client must not pick up one from the machine.
        self.token = options.token or False
        self.pace = Pace(options.readers, min(8, options.readers))
        self.budget = self._budget()

    def get(self, url: str, limit: int, headers: Mapping[str, str] | None = None, *, json_only: bool = False) -> Answer:
        """The first `limit` bytes of an answer. Raises HubError, with the client's error as its cause.

        Fewer bytes than a ranged answer claims, or (`json_only`) a JSON body that does not end, count as cut off on
        the way and are asked for again.
        """
        return self.call(url.partition("?")[0], lambda: self._get_once(url, limit, headers or {}, json_only))

    def call(self, what: str, call: Callable[[], _T]) -> _T:
        """Run a client call with our retries and pace, its errors told for people."""
        try:
            result: _T = self._retrying()(self._paced, call)
        except (OSError, httpx2.HTTPError, httpx2.InvalidURL, *NONSENSE) as error:
            raise explain(what, error, self.options.endpoint, bool(self.options.token)) from error
        return result

    def own_url(self, address: str) -> str:
        """An address of the endpoint's own origin: the token goes nowhere else. Raises HubError for another."""
        try:
            url = str(urljoin(self.options.endpoint, address))
            own = urlsplit(url)[:2] == urlsplit(self.options.endpoint)[:2]
        except ValueError:
            own = False
        if not own:
            raise HubError(f"The listing continues at another host, {address[:200]!r}.", "Check the endpoint.")
        return url

    def _budget(self) -> Budget:
        """The one budget of this origin and caller in the process."""
        options = self.options
        caller = (_origin(options.endpoint), f"Bearer {options.token}" if options.token else "")
        public = _origin(options.endpoint) == _origin(PUBLIC_ENDPOINT)
        plan = ("free" if options.token else "anonymous") if public else None
        return _BUDGETS.setdefault(caller, Budget(plan))

    def _paced(self, call: Callable[[], _T]) -> _T:
        with self.pace.slot():
            try:
                result = call()
            except Exception as error:
                if is_transient(error):
                    self.pace.met_trouble()
                raise
        self.pace.went_well()
        return result

    def _get_once(self, url: str, limit: int, headers: Mapping[str, str], json_only: bool) -> Answer:
        sent = {**build_hf_headers(token=self.token), **headers}
        with (
            within(self.options.deadline),
            get_session().stream("GET", url, headers=sent, timeout=self.options.timeout) as response,
        ):
            redirects = tuple(r.headers for r in response.history)
            if response.status_code == 416:  # an empty file has no first byte to give
                return Answer(b"", response.headers, redirects, str(response.url))
            if response.is_error:
                hf_raise_for_status(_bounded_error(response))
            data = _read_bounded(response, limit)
        COUNT.read(len(data))
        _check_whole(response, data, limit, json_only)
        return Answer(data, response.headers, redirects, str(response.url))

    def _is_enough(self, state: RetryCallState) -> bool:
        """No more tries: where nobody answers at all, sooner."""
        down = is_down(state.outcome.exception() if state.outcome else None)
        return state.attempt_number >= (min(DOWN_ATTEMPTS, self.options.attempts) if down else self.options.attempts)

    def _retrying(self) -> Retrying:
        return Retrying(
            stop=self._is_enough,
            retry=retry_if_exception(is_transient),
            wait=_wait,
            reraise=True,
        )


@contextmanager
def downloads_of(limit: int) -> Iterator[None]:
    """Within it, a plain GET of this thread must announce its length, and no more than `limit` bytes."""
    token = _DOWNLOAD_LIMIT.set(limit)
    try:
        yield
    finally:
        _DOWNLOAD_LIMIT.reset(token)


def _read_bounded(response: httpx2.Response, limit: int) -> bytes:
    data = bytearray()
    for chunk in response.iter_bytes():
        data += chunk
        if len(data) >= limit:
            break
    return bytes(data[:limit])


def _check_whole(response: httpx2.Response, data: bytes, limit: int, json_only: bool) -> None:
    """Raise where an answer's own headers say that bytes are missing, or its JSON breaks off."""
    told = re.fullmatch(r"bytes 0-\d+/(\d+)", response.headers.get("content-range", ""))
    if told and len(data) < min(limit, int(told[1])):
        raise httpx2.RemoteProtocolError(f"{len(data)} bytes came of {told[1]}", request=response.request)
    if json_only and response.headers.get("content-type", "").startswith("application/json"):
        try:
            json.loads(data)
        except ValueError as error:
            raise httpx2.RemoteProtocolError("the JSON breaks off", request=response.request) from error
        except RecursionError:
            return  # whole, and hostile: whoever reads it says so


def _bounded_error(response: httpx2.Response) -> httpx2.Response:
    """The error answer with the start of its body: the client would read all of it."""
    data = _read_bounded(response, ERROR_LIMIT)
    kept = {k: v for k, v in response.headers.items() if k not in ("content-encoding", "content-length")}
    return httpx2.Response(response.status_code, headers=kept, content=data, request=response.request)


_BACKOFF = wait_exponential_jitter(initial=0.5, max=20)


def _wait(state: RetryCallState) -> float:
    """What the hub asks for, else exponential with jitter. Seconds, five minutes at most."""
    error = state.outcome.exception() if state.outcome else None
    headers = error.response.headers if isinstance(error, HfHubHTTPError) and error.response is not None else {}
    asked = _seconds_asked(headers)
    return min(asked, 300.0) + 0.5 if asked is not None else _BACKOFF(state)


def _seconds_asked(headers: Mapping[str, str]) -> float | None:
    """Seconds that an answer asks us to wait: Retry-After, or the rest of a window with nothing left."""
    asked, limit = headers.get("retry-after", ""), parse_ratelimit_headers(headers)
    if asked.isdecimal():
        return float(asked)
    return float(limit.reset_in_seconds) if limit and not limit.remaining else None
