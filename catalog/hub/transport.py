"""Transport: requests to a hub with bounds, a pace, retries, and errors for people.

Knows: when a request is tried again, how many run at once, whose token goes where. Does not know: the client's session
and its bounds (catalog/hub/session), the Hub's routes and what answers mean (catalog/hub/client), the words of errors
(catalog/hub/errors).

huggingface_hub's session does all requests: proxies, certificates and tokens work as everywhere else. The token goes to
the endpoint's own origin only; the client drops it on a redirect to another.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from catalog.hub.session import BODY_LIMIT, BUDGETS, COUNT, bounded, is_budgeted, seconds_asked, window_of

# isort: split
import httpx2
from huggingface_hub import get_session
from huggingface_hub.errors import HfHubHTTPError
from huggingface_hub.utils import build_hf_headers, hf_raise_for_status  # type: ignore[attr-defined]  # public
from tenacity import RetryCallState, Retrying, retry_if_exception, wait_exponential_jitter

from catalog.hub.bodies import check_empty, check_whole, read_bounded
from catalog.hub.budget import BLIND_S, PUBLIC_ENDPOINT, Budget, Pace
from catalog.hub.errors import NONSENSE, explain, is_down, is_transient, origin

DOWN_ATTEMPTS = 3  # where nobody answers
ERROR_LIMIT = 64 << 10  # bytes of an error's body
BACKOFF = wait_exponential_jitter(initial=0.5, max=20)  # seconds between tries where nobody says how many
_SLACK = 1 << 20  # bytes that may have come beyond those asked for before the reading stops
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class HubOptions:
    """Where the hub is and how to speak to it.

    Args:
        endpoint: base address.
        token: access token, never shown.
        cache_dir: where downloads are kept.
        page_size: repos a listing page.
        timeout: seconds without a byte.
        deadline: seconds of one bounded read in all.
        attempts: tries a request.
        readers: most requests at once.
        max_bytes: of one downloaded file.
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


@dataclass(frozen=True, slots=True)
class Answer:
    """A bounded answer: at most the bytes asked for, the headers, those of the redirects before it, its address.

    Args:
        packed: whether it came as gzip; then the headers tell no length.
    """

    data: bytes
    headers: Mapping[str, str]
    redirects: tuple[Mapping[str, str], ...] = ()
    url: str = ""
    packed: bool = False


class Transport:
    """Bounded, budgeted, retried requests to one hub as one caller."""

    def __init__(self, options: HubOptions) -> None:
        self.options = options
        # `token or False`: without one of ours the client must not pick up one from the machine.
        self.token = options.token or False
        self.pace = Pace(options.readers, min(8, options.readers))
        self.budget = self._budget()

    def get(
        self,
        url: str,
        limit: int,
        headers: Mapping[str, str] | None = None,
        *,
        json_only: bool = False,
        what: str = "",
    ) -> Answer:
        """The first `limit` bytes of an answer, unpacked. Raises HubError; `what` is what it calls the answer.

        Fewer bytes than a ranged answer claims, a packed body that breaks off, or (`json_only`) a JSON body that does
        not end, count as cut off on the way and are asked for again.
        """
        return self._tried(what or url.partition("?")[0], lambda: self._get_once(url, limit, headers or {}, json_only))

    def call(self, what: str, call: Callable[[], _T]) -> _T:
        """Run a call of the client with our bounds, retries and pace, its errors told for people."""
        return self._within(what, call, BODY_LIMIT)

    def download(self, name: str, max_bytes: int, call: Callable[[], _T]) -> _T:
        """Run a download of the client: no more than `max_bytes` come, and it may last while enough of them come."""
        return self._within(name, call, max_bytes, download=name)

    def _within(self, what: str, call: Callable[[], _T], limit: int, download: str = "") -> _T:
        def once() -> _T:
            with bounded(self.options.deadline, limit, download):
                return call()

        return self._tried(what, once)

    def _budget(self) -> Budget:
        """The one budget of this origin and caller in the process."""
        options = self.options
        caller = (origin(options.endpoint), f"Bearer {options.token}" if options.token else "")
        public = origin(options.endpoint) == origin(PUBLIC_ENDPOINT)
        plan = ("free" if options.token else "anonymous") if public else None
        return BUDGETS.setdefault(caller, Budget(plan))

    def _tried(self, what: str, call: Callable[[], _T]) -> _T:
        endpoint = self.options.endpoint
        try:
            result: _T = self._retrying()(self._paced, call)
        except (OSError, httpx2.HTTPError, httpx2.InvalidURL, *NONSENSE) as error:
            raise explain(what, error, endpoint, bool(self.options.token)) from error
        return result

    def _paced(self, call: Callable[[], _T]) -> _T:
        with self.pace.slot():
            try:
                result = call()
            except Exception as error:
                if is_transient(error, self.options.endpoint):
                    self.pace.met_trouble()
                raise
        self.pace.went_well()
        return result

    def _get_once(self, url: str, limit: int, headers: Mapping[str, str], json_only: bool) -> Answer:
        sent = {**build_hf_headers(token=self.token), **headers}
        with (
            bounded(self.options.deadline, limit + _SLACK),
            get_session().stream("GET", url, headers=sent, timeout=self.options.timeout) as response,
        ):
            redirects = tuple(r.headers for r in response.history)
            if response.status_code == 416:  # an empty file has no first byte to give
                check_empty(response)
                return Answer(b"", response.headers, redirects, str(response.url))
            if response.is_error:
                hf_raise_for_status(_bounded_error(response))
            data = read_bounded(response, limit)
        COUNT.read(len(data))
        check_whole(response, data, limit, json_only)
        packed = bool(response.extensions.get("packed"))
        return Answer(data, response.headers, redirects, str(response.url), packed)

    def _is_enough(self, state: RetryCallState) -> bool:
        """No more tries: where nobody answers at all, sooner."""
        down = is_down(state.outcome.exception() if state.outcome else None, self.options.endpoint)
        return state.attempt_number >= (min(DOWN_ATTEMPTS, self.options.attempts) if down else self.options.attempts)

    def _retrying(self) -> Retrying:
        return Retrying(
            stop=self._is_enough,
            retry=retry_if_exception(lambda error: is_transient(error, self.options.endpoint)),
            wait=_wait,
            reraise=True,
        )


def _bounded_error(response: httpx2.Response) -> httpx2.Response:
    """The error answer with the start of its body: the client would read all of it."""
    data = read_bounded(response, ERROR_LIMIT)
    kept = {k: v for k, v in response.headers.items() if k not in ("content-encoding", "content-length")}
    return httpx2.Response(response.status_code, headers=kept, content=data, request=response.request)


def _wait(state: RetryCallState) -> float:
    """Seconds before the next try, five minutes at most: what the hub asks for, else exponential with jitter.

    A refusal of a window is waited out by the budget, for all threads at once and told to the person.
    """
    error = state.outcome.exception() if state.outcome else None
    if not isinstance(error, HfHubHTTPError) or error.response is None:
        return BACKOFF(state)
    refused = error.response.status_code == 429 and window_of(error.response.request)
    if refused and is_budgeted(error.response.request):
        return 0.0
    asked = seconds_asked(error.response.headers)
    if asked is None and refused:
        return BLIND_S[min(state.attempt_number, len(BLIND_S)) - 1]
    return min(asked, 300.0) + 0.5 if asked is not None else BACKOFF(state)
