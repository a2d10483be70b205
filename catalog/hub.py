"""The hub: listing, two small reads an adapter, downloads. The only owner of huggingface_hub.

Knows: the Hub's REST routes, its headers, bounds on every read, retries, how many requests were made.
Does not know: what makes an adapter good, where facts are kept.

huggingface_hub reads HF_HOME and friends at import, so this module is imported where it is used. Its own
session does all requests: proxies, certificates and tokens work as everywhere else. The token goes to the
endpoint's own origin only; the client drops it on a redirect to another.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Any
from urllib.parse import urlencode, urljoin, urlsplit

os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")

import httpx2
from huggingface_hub import HfApi, constants, get_session, hf_hub_download, hf_hub_url, set_client_factory
from huggingface_hub.errors import (
    EntryNotFoundError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
)
from huggingface_hub.utils._headers import build_hf_headers
from huggingface_hub.utils._http import default_client_factory, hf_raise_for_status, parse_ratelimit_headers
from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_attempt, wait_exponential_jitter

from catalog.adapter import AdapterId
from catalog.errors import DiskError, HubError
from catalog.facts import CONFIG_NAME, WEIGHTS_NAME, RawAdapter, RepoListing, listing_from_json
from catalog.parse import CONFIG_LIMIT, Problem, base_modules, header_length, is_lfs_pointer, parse_header
from catalog.rules import Base

PUBLIC_ENDPOINT = "https://huggingface.co"
DEFAULT_CACHE = Path(constants.HF_HUB_CACHE)
PAGE_LIMIT = 64 << 20  # bytes of one listing page
HEAD_BYTES = 100_000  # first ranged read of a weights file; holds nearly every LoRA's header
_FIELDS = ("sha", "tags", "siblings", "downloads", "likes", "gated", "private", "lastModified")
_RETRIED = (408, 429, 500, 502, 503, 504)
_NONSENSE = (
    ValueError,
    TypeError,
    KeyError,
    AttributeError,
    RecursionError,
)  # what the client makes of an answer like no hub's


@dataclass(frozen=True, slots=True)
class HubOptions:
    """Where the hub is and how to speak to it.

    Args:
        endpoint: base address. token: access token, never shown. cache_dir: where downloads are kept.
        page_size: repos a listing page. timeout: seconds without a byte. attempts: tries a request.
    """

    endpoint: str
    cache_dir: Path
    token: str | None = field(default=None, repr=False)
    page_size: int = 500
    timeout: float = 10.0
    attempts: int = 4


@dataclass(slots=True)
class RequestCount:
    """Requests made by this process: calls of the API, and of file (resolve) routes."""

    api: int = 0
    file: int = 0
    _lock: Lock = field(default_factory=Lock, repr=False)

    def note(self, request: httpx2.Request) -> None:
        """Count one request by its route; readers on several threads share the count."""
        with self._lock:
            if "/resolve/" in request.url.path:
                self.file += 1
            elif request.url.path.startswith("/api/"):
                self.api += 1


@dataclass(frozen=True, slots=True)
class Page:
    """One page of the listing, and the address of the next one (None at the end)."""

    repos: tuple[RepoListing, ...]
    next_url: str | None


@dataclass(frozen=True, slots=True)
class Read:
    """A bounded read of a file's head: the bytes, the whole file's size and sha256 where the hub says them."""

    data: bytes
    size: int | None
    sha256: str | None


@dataclass(frozen=True, slots=True)
class Answer:
    """A bounded answer: at most the bytes asked for, the headers, and those of the redirects before it."""

    data: bytes
    headers: Mapping[str, str]
    redirects: tuple[Mapping[str, str], ...] = ()


COUNT = RequestCount()


def _counting_client() -> httpx2.Client:
    client = default_client_factory()
    client.event_hooks["request"].append(COUNT.note)
    return client


set_client_factory(_counting_client)


class Hub:
    """A Hugging Face hub, or any mirror with the same routes."""

    def __init__(self, options: HubOptions) -> None:
        self.options = options
        # `token or False`: without one of ours the client must not pick up one from the machine.
        self._token = options.token or False
        self._api = HfApi(endpoint=options.endpoint, token=self._token)

    def list_adapters(self, base: str, start: str | None = None) -> Iterator[Page]:
        """Pages of the repos tagged as adapters of `base`, newest first, from page address `start` on.

        Raises:
            HubError: the endpoint cannot be reached, refuses us, or sends what is no listing.
        """
        query = [("filter", f"base_model:adapter:{base}"), ("sort", "lastModified"), ("direction", "-1")]
        query += [("limit", str(self.options.page_size)), *(("expand", name) for name in _FIELDS)]
        first = f"{self.options.endpoint}/api/models?{urlencode(query)}"
        url: str | None = self._own_url(start) if start else first
        while url:
            answer = self._get(url, limit=PAGE_LIMIT)
            items = _json(answer, url)
            if not isinstance(items, list):
                raise HubError(f"{url} sent no list of repos.", "Check that the endpoint is a Hugging Face hub.")
            following = self._next_url(answer.headers)
            if following == url:
                raise HubError(f"The page {url[:200]} names itself as the next.", "Check the endpoint.")
            url = following
            yield Page(tuple(listing_from_json(i) for i in items if isinstance(i, Mapping)), url)

    def read_adapter(self, listing: RepoListing, adapter: AdapterId) -> RawAdapter:
        """Config and safetensors header of one adapter: one small and one ranged read, no weights.

        Faults of the repo become problems of the result; only an unreachable hub raises HubError.
        """
        files = listing.files_in(adapter.path)
        config = self._read_config(adapter) if CONFIG_NAME in files else None
        if isinstance(config, Problem):
            return RawAdapter(problems=(config,))
        if config is None or WEIGHTS_NAME not in files:
            return RawAdapter(config=config)
        read = self._read(adapter.repo, _join(adapter.path, WEIGHTS_NAME), adapter.sha, HEAD_BYTES)
        if isinstance(read, Problem):
            return RawAdapter(config=config, problems=(read,))
        header = self._complete_header(adapter, read)
        if isinstance(header, Problem):
            return RawAdapter(config, None, read.size, read.sha256, (header,))
        return RawAdapter(config, header, read.size, read.sha256)

    def read_base(self, base: str, revision: str = "main") -> Base:
        """Sha and module shapes of a base model from its checkpoint's headers, without its weights."""
        sha, files = self.repo_files(base, revision)
        names = sorted(f for f in files if f.endswith(".safetensors") and "/" not in f)
        if not names:
            raise HubError(f"Base model {base} has no safetensors weights.", "Choose a base that has them.")
        modules: dict[str, tuple[int, int]] = {}
        for name in names:
            modules |= self._base_shapes(base, name, sha)
        return Base(base, sha, modules)

    def repo_files(self, repo: str, revision: str = "main") -> tuple[str, tuple[str, ...]]:
        """Commit sha of a revision and the names of its files (one API call)."""
        info = self._call(repo, lambda: self._api.model_info(repo, revision=revision))
        if not re.fullmatch(r"[0-9a-f]{40}", str(info.sha)):
            raise HubError(f"{repo}: the hub named no commit.", "Check that the endpoint is a Hugging Face hub.")
        return str(info.sha), tuple(s.rfilename for s in info.siblings or ())

    def download(self, repo: str, names: Iterable[str], sha: str) -> Path:
        """Download files of one commit and return the local folder of that commit. Nothing is fetched twice."""
        for name in names:
            self._call(f"{repo}/{name}", partial(self._fetch, repo, name, sha))
        return self.local(repo, sha)

    def local(self, repo: str, sha: str, path: str = "") -> Path:
        """Where `download` puts a folder of a commit."""
        return self.options.cache_dir / f"models--{repo.replace('/', '--')}" / "snapshots" / sha / path

    def whoami(self) -> str:
        """The name behind the token, or "anonymous". Raises HubError for a refused token."""
        if not self.options.token:
            return "anonymous"
        return str(self._call("the token", self._api.whoami)["name"])

    def _fetch(self, repo: str, name: str, sha: str) -> None:
        options = self.options
        hf_hub_download(
            repo,
            name,
            revision=sha,
            endpoint=options.endpoint,
            cache_dir=options.cache_dir,
            token=self._token,
            etag_timeout=options.timeout,
        )

    def _call(self, what: str, call: Any) -> Any:
        """Run a client call with our retries, its errors told for people."""
        try:
            return self._retrying()(call)
        except (OSError, httpx2.HTTPError, httpx2.InvalidURL, *_NONSENSE) as error:
            raise _explain(what, error, self.options) from error

    def _read_config(self, adapter: AdapterId) -> str | Problem:
        read = self._read(adapter.repo, _join(adapter.path, CONFIG_NAME), adapter.sha, CONFIG_LIMIT + 1)
        if isinstance(read, Problem):
            return read
        if is_lfs_pointer(read.data):
            return Problem("lfs_pointer", f"{CONFIG_NAME} is a git-LFS pointer")
        return _decoded(read.data, "utf-8-sig", CONFIG_NAME, "bad_config")

    def _complete_header(self, adapter: AdapterId, read: Read) -> str | Problem:
        length = header_length(read.data, read.size)
        if isinstance(length, Problem):
            return length
        data = read.data
        if len(data) < 8 + length:
            longer = self._read(adapter.repo, _join(adapter.path, WEIGHTS_NAME), adapter.sha, 8 + length)
            if isinstance(longer, Problem):
                return longer
            data = longer.data
        if len(data) < 8 + length:
            return Problem("truncated", f"the header ends at byte {8 + length}, {len(data)} came")
        return _decoded(data[8 : 8 + length], "utf-8", "the safetensors header", "bad_header")

    def _base_shapes(self, base: str, name: str, sha: str) -> dict[str, tuple[int, int]]:
        header = self._complete_base_header(base, name, sha)
        tensors = parse_header(header, None)
        if isinstance(tensors, Problem):
            raise HubError(f"{base}/{name}: {tensors.evidence}.", "Choose a base with sound safetensors weights.")
        return base_modules(tensors)

    def _complete_base_header(self, base: str, name: str, sha: str) -> bytes:
        read = self._read(base, name, sha, HEAD_BYTES)
        length = read if isinstance(read, Problem) else header_length(read.data, read.size)
        if isinstance(read, Read) and isinstance(length, int) and 8 + length > len(read.data):
            read = self._read(base, name, sha, 8 + length)
        if isinstance(read, Problem):
            raise _unreadable_base(base, read)
        if isinstance(length, Problem):
            raise _unreadable_base(base, length)
        return read.data[8 : 8 + length]

    def _read(self, repo: str, name: str, sha: str, limit: int) -> Read | Problem:
        """The first `limit` bytes of a file in one ranged request, or `unreadable` if the hub has it not."""
        try:
            url = hf_hub_url(repo, name, revision=sha, endpoint=self.options.endpoint)
            # Identity: bytes, sizes and bounds are those of the file, and nothing swells on arrival.
            headers = {"Range": f"bytes=0-{limit - 1}", "Accept-Encoding": "identity"}
            answer = self._get(url, limit, headers)
        except HubError as error:
            if _is_refused(error.__cause__):
                return Problem("unreadable", f"{name}: {type(error.__cause__).__name__}")
            raise
        except HFValidationError:
            return Problem("unreadable", f"{repo[:120]!r} is no repo id")
        linked = next((h for h in (*answer.redirects, answer.headers) if "x-linked-size" in h), {})
        total = answer.headers.get("content-range", "").rpartition("/")[2]
        size = linked.get("x-linked-size") or total or answer.headers.get("content-length", "")
        etag = linked.get("x-linked-etag", "").strip('"')
        sha256 = etag if re.fullmatch(r"[0-9a-f]{64}", etag) else None
        return Read(answer.data, int(size) if size.isdecimal() else None, sha256)

    def _get(self, url: str, limit: int, headers: Mapping[str, str] | None = None) -> Answer:
        return self._call(url, lambda: self._get_once(url, limit, headers or {}))  # type: ignore[no-any-return]

    def _get_once(self, url: str, limit: int, headers: Mapping[str, str]) -> Answer:
        sent = {**build_hf_headers(token=self._token), **headers}
        with get_session().stream("GET", url, headers=sent, timeout=self.options.timeout) as response:
            redirects = tuple(r.headers for r in response.history)
            if response.status_code == 416:  # an empty file has no first byte to give
                return Answer(b"", response.headers, redirects)
            if response.is_error:
                hf_raise_for_status(response)
            return Answer(_read_bounded(response, limit), response.headers, redirects)

    def _next_url(self, headers: Mapping[str, str]) -> str | None:
        match = re.search(r'<([^>]+)>;\s*rel="next"', headers.get("link", ""))
        if not match:
            return None
        return self._own_url(match[1])

    def _own_url(self, address: str) -> str:
        """An address of the endpoint's own origin: the token goes nowhere else."""
        try:
            url = str(urljoin(self.options.endpoint, address))
            own = urlsplit(url)[:2] == urlsplit(self.options.endpoint)[:2]
        except ValueError:
            own = False
        if not own:
            raise HubError(f"The listing continues at another host, {address[:200]!r}.", "Check the endpoint.")
        return url

    def _retrying(self) -> Retrying:
        return Retrying(
            stop=stop_after_attempt(self.options.attempts),
            retry=retry_if_exception(_is_transient),
            wait=_wait,
            reraise=True,
        )


def model_files(names: Iterable[str]) -> list[str]:
    """The files of a model repo that loading it needs: safetensors, JSON, tokenizer text; no other formats."""
    endings = (".safetensors", ".json", ".txt", ".model", ".jinja")
    return sorted(n for n in names if n.endswith(endings) and not n.startswith((".", "onnx/", "openvino/")))


def _read_bounded(response: httpx2.Response, limit: int) -> bytes:
    data = bytearray()
    for chunk in response.iter_bytes():
        data += chunk
        if len(data) >= limit:
            break
    return bytes(data[:limit])


def _unreadable_base(base: str, problem: Problem) -> HubError:
    return HubError(f"Base model {base}: {problem.evidence}.", "Check the base's id and your access to it.")


def _is_refused(error: BaseException | None) -> bool:
    """Whether the hub will not give this file, now or later, to us; other requests may go well."""
    if isinstance(error, (EntryNotFoundError, RepositoryNotFoundError)):
        return True
    status = error.response.status_code if isinstance(error, HfHubHTTPError) else 0
    return 400 <= status < 500 and status not in (401, *_RETRIED)


def _is_transient(error: BaseException) -> bool:
    if isinstance(error, HfHubHTTPError) and error.response is not None:
        return error.response.status_code in _RETRIED
    return isinstance(error, (httpx2.TimeoutException, httpx2.NetworkError, httpx2.RemoteProtocolError))


_BACKOFF = wait_exponential_jitter(initial=0.5, max=20)


def _wait(state: RetryCallState) -> float:
    """What the hub asks for in Retry-After, else exponential with jitter. Seconds, five minutes at most."""
    error = state.outcome.exception() if state.outcome else None
    headers = error.response.headers if isinstance(error, HfHubHTTPError) and error.response is not None else {}
    asked, limit = headers.get("retry-after", ""), parse_ratelimit_headers(headers)
    if asked.isdecimal():
        return min(float(asked), 300.0) + 0.5
    return min(limit.reset_in_seconds, 300.0) + 0.5 if limit and not limit.remaining else _BACKOFF(state)


def _json(answer: Answer, url: str) -> Any:
    try:
        return json.loads(answer.data)
    except (ValueError, RecursionError) as error:
        raise HubError(f"{url} sent no JSON.", "Check that the endpoint is a Hugging Face hub.") from error


def _decoded(data: bytes, encoding: str, what: str, reason: str) -> str | Problem:
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        return Problem(reason, f"{what}: not UTF-8 (byte {error.start})")


def _join(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name


def _explain(what: str, error: Exception, options: HubOptions) -> HubError | DiskError:
    """A client's error as ours: what failed, why, and what to do."""
    if isinstance(error, LocalEntryNotFoundError) and isinstance(error.__cause__, httpx2.HTTPError):
        error = error.__cause__
    if isinstance(error, HfHubHTTPError) and error.response is not None:
        return _explain_status(what, error, error.response.status_code, options)
    for kinds, cause, next_step in _CAUSES:
        if isinstance(error, kinds):
            told = cause.format(what=what, endpoint=options.endpoint, error=type(error).__name__)
            return HubError(told, next_step)
    return DiskError(f"{what} could not be written: {error}.", "Free some space or set LORAUTER_HOME elsewhere.")


def _explain_status(what: str, error: HfHubHTTPError, status: int, options: HubOptions) -> HubError:
    if isinstance(error, RepositoryNotFoundError):  # gated repos among them
        hint = "set LORAUTER_TOKEN to a token that may read it" if not options.token else "ask for access"
        return HubError(f"{what} is not on {options.endpoint}, or is private or gated.", f"Check the name, or {hint}.")
    if status == 401:
        return HubError(f"{options.endpoint} refused the token.", "Set LORAUTER_TOKEN to a valid one, or unset it.")
    if status == 404:
        return HubError(f"{what}: {options.endpoint} has no such file or revision.", "Check the name and the endpoint.")
    return HubError(f"{what}: the hub answered {status}.", "Try again later; what was read is kept.")


_CAUSES: tuple[tuple[type[Exception] | tuple[type[Exception], ...], str, str], ...] = (
    (
        LocalEntryNotFoundError,
        "{what} could not be downloaded from {endpoint}.",
        "Check the network, then run it again.",
    ),
    (OfflineModeIsEnabled, "{what}: HF_HUB_OFFLINE is set, so no hub is asked.", "Unset it."),
    (HFValidationError, "{what} is no repo id.", "Write it as org/name."),
    (
        _NONSENSE,
        "{endpoint} sent no hub's answer to the question for {what}.",
        "Check that LORAUTER_ENDPOINT names a Hugging Face hub.",
    ),
    (
        (httpx2.HTTPError, httpx2.InvalidURL),
        "{endpoint} cannot be reached ({error}).",
        "Check the address in LORAUTER_ENDPOINT and the network; `lorauter doctor` tests both.",
    ),
)
