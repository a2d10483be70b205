"""The hub: listing, two small reads an adapter, downloads.

Knows: the Hub's REST routes and what its answers mean, bounds on every read.
Does not know: sessions (catalog/hub/session), retries and budgets (catalog/hub/transport), what makes an adapter good,
where facts are kept.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

from catalog.hub.session import COUNT
from catalog.hub.transport import Answer, HubOptions, Transport

# isort: split
from huggingface_hub import HfApi, constants, hf_hub_url
from huggingface_hub.errors import HFValidationError

from catalog.adapters.adapter import AdapterId
from catalog.adapters.facts import CONFIG_NAME, WEIGHTS_NAME, RawAdapter, RepoListing, listing_from_json
from catalog.adapters.parse import (
    CONFIG_LIMIT,
    Problem,
    base_modules,
    header_length,
    is_lfs_pointer,
    parse_config,
    parse_header,
)
from catalog.adapters.safe_names import is_repo_id
from catalog.bases.base import Base
from catalog.errors import HubDown, HubError, HubRefusal, HubTrouble, Refused
from catalog.hub.budget import PUBLIC_ENDPOINT
from catalog.hub.errors import NO_HUB
from catalog.hub.fetch import commit_folder, fetch
from catalog.hub.target import Target

__all__ = ["COUNT", "PUBLIC_ENDPOINT", "Hub", "HubOptions", "Page", "Read", "model_files"]

DEFAULT_CACHE = Path(constants.HF_HUB_CACHE)
PAGE_LIMIT = 64 << 20  # bytes of one listing page
HEAD_BYTES = 100_000  # ranged read of a weights file whose header's length cannot be told; holds nearly every LoRA's
LEAST_HEAD = 4_096  # bytes
MOST_SHARDS = 512  # files of a base's weights whose headers are read
SMALL_PAGE = 100  # repos of a page when the hub fails at a full one: deep in a listing it runs out of time
# What a refusal of a file says of its adapter. A 401 says nothing: the hub may have meant us, or hides the repo.
_PROBLEMS: dict[Refused, str] = {
    "unseen": "unreachable",
    "disabled": "disabled",
    "withheld": "withheld",
    "gone": "gone",
}
UNSEEN = "the hub wants to know who asks (401): the repo is private, gated or gone"
_SAID: dict[Refused, str] = {
    "unseen": UNSEEN,
    "missing": "the hub has no such repo for us",
    "gated": "the hub does not grant it to us",
    "disabled": "the hub has disabled the repo",
    "withheld": "the hub withholds it for legal reasons (451)",
    "gone": "the hub says it is gone for good (410)",
    "no_file": "the hub has no such file or revision",
    "refused": "the hub refuses it",
}
_FIELDS = ("sha", "tags", "siblings", "downloads", "likes", "gated", "private", "lastModified", "createdAt")
ExpectedBytes = Callable[[Mapping[str, Any]], int | None]


@dataclass(frozen=True, slots=True)
class Page:
    """One page of the listing, and the address of the next one (None at the end).

    Args:
        broken: why the listing ends here, where the address that the hub names as the next page is no page.
    """

    repos: tuple[RepoListing, ...]
    next_url: str | None
    broken: HubError | None = None


@dataclass(frozen=True, slots=True)
class Read:
    """A bounded read of a file's head: the bytes, the whole file's size and sha256 where the hub says them."""

    data: bytes
    size: int | None
    sha256: str | None


class Hub:
    """A Hugging Face hub, or any mirror with the same routes."""

    def __init__(self, options: HubOptions) -> None:
        self.options = options
        self.transport = Transport(options)
        self._api = HfApi(endpoint=options.endpoint, token=self.transport.token)

    def page(self, target: Target, position: str | None = None) -> Page:
        """One page of a target's repos, last modified first: the first, or the one at a page's `next_url`.

        Raises:
            HubError: the endpoint cannot be reached, refuses us, or sends what is no listing.
        """
        query = [*_query_of(target), ("sort", "lastModified"), ("direction", "-1")]
        query += [("limit", str(self.options.page_size)), *(("expand", name) for name in _FIELDS)]
        # Only the query of a position counts: the token goes nowhere but to our own endpoint.
        url = f"{self.options.endpoint}/api/models?{urlsplit(position).query if position else urlencode(query)}"
        page = self._page(url)
        if page.next_url == url:
            broken = HubError(f"The page {url[:200]} names itself as the next.", NO_HUB)
            return Page(page.repos, None, broken)
        return page

    def look(self, repo: str, revision: str | None = None) -> RepoListing | HubRefusal:
        """One repo as a listing would show it (one API call), under its new name if it was renamed.

        The refusal where the hub says that it will not show it: deleted or private, disabled, withheld, gone.

        Raises HubError where it cannot say so now.
        """
        try:
            return self._repo(repo, revision)
        except HubRefusal as error:
            return error

    def read_adapter(self, listing: RepoListing, adapter: AdapterId, expect: ExpectedBytes | None = None) -> RawAdapter:
        """Config and safetensors header of one adapter: one small and one ranged read, no weights.

        Args:
            expect: says, from the parsed config, in how many bytes the weights' header should end; None where it
                cannot tell. A good guess saves bytes, a bad one costs a second read.

        Faults of the repo become problems of the result. So does trouble on the way that is still there after the
        retries (`unreachable`: worth another try later). HubError is raised only where nobody answers at the hub, or it
        refuses our token.
        """
        files = listing.files_in(adapter.path)
        config = self._read_config(adapter) if CONFIG_NAME in files else None
        if isinstance(config, Problem):
            return RawAdapter(problems=(config,))
        if config is None or WEIGHTS_NAME not in files:
            return RawAdapter(config=config)
        head_bytes = _head_bytes(config, expect)
        read = self._read(adapter.repo, _join(adapter.path, WEIGHTS_NAME), adapter.sha, head_bytes)
        if isinstance(read, Problem):
            return RawAdapter(config=config, problems=(read,))
        header = self._complete_header(adapter, read)
        if isinstance(header, Problem):
            return RawAdapter(config, None, read.size, read.sha256, (header,))
        return RawAdapter(config, header, read.size, read.sha256)

    def read_text(self, repo: str, name: str, sha: str, limit: int) -> str | None:
        """A small text file of a commit; None where the repo does not have it, or it is not UTF-8 or too long.

        Raises HubError where the hub cannot say so now.
        """
        read = self._read(repo, name, sha, limit + 1)
        if isinstance(read, Problem):
            if read.reason == "unreachable":
                raise HubTrouble(f"{repo}/{read.evidence}.", "Try again later; what was read is kept.")
            return None
        text = _decoded(read.data, "utf-8-sig", name, "") if len(read.data) <= limit else None
        return text if isinstance(text, str) else None

    def read_start(self, repo: str, name: str, sha: str, limit: int) -> str:
        """The first `limit` bytes of a text file, with replacements for what is not UTF-8; "" where the hub refuses it.

        Raises HubError where the hub cannot say so now.
        """
        read = self._read(repo, name, sha, limit)
        if isinstance(read, Problem):
            if read.reason == "unreachable":
                raise HubTrouble(f"{repo}/{read.evidence}.", "Try again later; what was read is kept.")
            return ""
        return read.data.decode("utf-8-sig", "replace")

    def read_base(self, base: str, revision: str = "main") -> Base:
        """Sha and module shapes of a base model from its checkpoint's headers, without its weights."""
        sha, files = self.repo_files(base, revision)
        return self.base_from_header(base, sha, files)

    def base_from_header(self, base: str, sha: str, files: Iterable[str]) -> Base:
        """Module shapes of a base as its checkpoint's headers tell: one ranged read a file of weights."""
        names = sorted(f for f in files if f.endswith(".safetensors") and "/" not in f)
        if not names:
            raise HubError(f"Base model {base} has no safetensors weights.", "Choose a base that has them.")
        if len(names) > MOST_SHARDS:
            raise HubError(f"Base model {base} has {len(names)} files of weights.", "Choose a base that has fewer.")
        modules: dict[str, tuple[int, int]] = {}
        for name in names:
            modules |= self._base_shapes(base, name, sha)
        return Base(base, sha, modules, source="header")

    def repo_files(self, repo: str, revision: str = "main") -> tuple[str, tuple[str, ...]]:
        """Commit sha of a revision and the names of its files (one API call)."""
        listing = self._repo(repo, revision)
        if not re.fullmatch(r"[0-9a-f]{40}", listing.sha):
            raise HubError(f"{repo}: the hub named no commit.", NO_HUB)
        return listing.sha, listing.files

    def download(self, repo: str, names: Iterable[str], sha: str) -> Path:
        """Download files of one commit and return the local folder of that commit. Nothing is fetched twice.

        Raises DiskError where a link in the cache leads out of it: the person who planted it chose what would be read.
        """
        for name in names:
            fetch(self.transport, "model", repo, name, sha, self.options.max_bytes)
        return self.local(repo, sha)

    def forget(self, repo: str, name: str, sha: str) -> None:
        """Delete one downloaded file, so that the next download fetches it anew."""
        path = self.local(repo, sha) / name
        blob = path.resolve()
        if blob.is_relative_to(self.options.cache_dir.resolve()):
            blob.unlink(missing_ok=True)
        path.unlink(missing_ok=True)

    def local(self, repo: str, sha: str, path: str = "") -> Path:
        """Where `download` puts a folder of a commit."""
        return commit_folder(self.options, "model", repo, sha) / path

    def whoami(self) -> str:
        """The name behind the token, or "anonymous". Raises HubError for a refused token."""
        if not self.options.token:
            return "anonymous"
        return str(self.transport.call("the token", lambda: self._api.whoami()["name"]))

    def _repo(self, repo: str, revision: str | None) -> RepoListing:
        if not is_repo_id(repo):
            raise HubError(f"{repo[:120]} is no repo id.", "Write it as org/name.")
        named = repo if revision in (None, "main") else f"{repo} at revision {revision}"
        at = f"/revision/{quote(revision, safe='')}" if revision else ""
        fields = urlencode([("expand", name) for name in (*_FIELDS, "disabled")])
        url = f"{self.options.endpoint}/api/models/{repo}{at}?{fields}"
        item = _json(self.transport.get(url, PAGE_LIMIT, json_only=True, what=named), url)
        if not isinstance(item, Mapping):
            raise HubError(f"{url} sent no repo.", NO_HUB)
        if item.get("disabled") is True:  # the hub still tells of it, and gives no file of it
            raise HubRefusal(f"{named} is disabled by the hub.", "Leave it out; nobody can read it.", "disabled")
        return listing_from_json(item)

    def _page(self, url: str) -> Page:
        """One page. Where the hub fails at it, a smaller one, and all later pages are as small: they lie deeper."""
        try:
            return self._page_once(url)
        except HubTrouble:
            limit = dict(parse_qsl(urlsplit(url).query)).get("limit", "")
            if limit.isdecimal() and int(limit[:9]) <= SMALL_PAGE:
                raise
        return self._page_once(_with_limit(url, SMALL_PAGE))

    def _page_once(self, url: str) -> Page:
        answer = self.transport.get(url, PAGE_LIMIT, json_only=True)
        items = _json(answer, url)
        if not isinstance(items, list):
            raise HubError(f"{url} sent no list of repos.", NO_HUB)
        repos = tuple(listing_from_json(item) for item in items if isinstance(item, Mapping))
        try:
            return Page(repos, self._next_url(answer.headers))
        except HubError as error:
            return Page(repos, None, error)

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
        """The first `limit` bytes of a file in one ranged request, or why the hub does not give them."""
        try:
            url = hf_hub_url(repo, name, revision=sha, endpoint=self.options.endpoint)
            # Identity: bytes, sizes and bounds are those of the file, and nothing swells on arrival.
            headers = {"Range": f"bytes=0-{limit - 1}", "Accept-Encoding": "identity"}
            answer = self.transport.get(url, limit, headers)
        except HubRefusal as error:
            return Problem(_PROBLEMS.get(error.kind, "unreadable"), f"{name}: {_SAID[error.kind]}")
        except HubDown:
            raise
        except HubError as error:  # trouble, or an answer like no hub's to this one question
            return Problem("unreachable", f"{name}: {error.cause}")
        except HFValidationError:
            return Problem("unreadable", f"{repo[:120]!r} is no repo id")
        linked = next((h for h in (*answer.redirects, answer.headers) if "x-linked-size" in h), {})
        total = answer.headers.get("content-range", "").rpartition("/")[2]
        size = linked.get("x-linked-size") or total or answer.headers.get("content-length", "")
        etag = linked.get("x-linked-etag", "").strip('"')
        sha256 = etag if re.fullmatch(r"[0-9a-f]{64}", etag) else None
        return Read(answer.data, int(size) if re.fullmatch("[0-9]{1,18}", size) else None, sha256)

    def _next_url(self, headers: Mapping[str, str]) -> str | None:
        """The next page, on our own endpoint: a mirror may name the public host, and the token goes nowhere else."""
        match = re.search(r'<([^>]*)>;\s*rel="?next"?', headers.get("link", ""))
        if match is None:
            return None
        try:
            query = urlsplit(match[1]).query
        except ValueError:
            query = ""
        if not query:
            raise HubError(f"The hub names a next page that is none, {match[1][:200]!r}.", NO_HUB)
        return f"{self.options.endpoint}/api/models?{query}"


def model_files(names: Iterable[str]) -> list[str]:
    """The files of a model repo that loading it needs: safetensors, JSON, tokenizer text; no other formats."""
    endings = (".safetensors", ".json", ".txt", ".model", ".jinja")
    return sorted(n for n in names if n.endswith(endings) and not n.startswith((".", "onnx/", "openvino/")))


def _query_of(target: Target) -> list[tuple[str, str]]:
    """The listing's query for a target. Authors and tags are asked for repos of the library PEFT."""
    if target.kind == "base":
        return [("filter", f"base_model:adapter:{target.name}")]
    if target.kind == "author":
        return [("author", target.name), ("filter", "peft")]
    return [("filter", "peft"), ("filter", target.name)]


def _with_limit(url: str, limit: int) -> str:
    parts = urlsplit(url)
    query = [(name, value) for name, value in parse_qsl(parts.query) if name != "limit"]
    return urlunsplit(parts._replace(query=urlencode([*query, ("limit", str(limit))])))


def _head_bytes(config: str, expect: ExpectedBytes | None) -> int:
    """How much of a weights file to ask for: what its header should need, else what nearly every one needs."""
    parsed = parse_config(config.encode()) if expect else None
    expected = expect(parsed) if expect and isinstance(parsed, dict) else None
    return max(expected, LEAST_HEAD) if expected else HEAD_BYTES


def _unreadable_base(base: str, problem: Problem) -> HubError:
    kind = HubTrouble if problem.reason == "unreachable" else HubError
    return kind(f"Base model {base}: {problem.evidence}.", "Check the base's id and your access to it.")


def _json(answer: Answer, url: str) -> Any:
    try:
        return json.loads(answer.data)
    except (ValueError, RecursionError) as error:
        raise HubError(f"{url} sent no JSON.", NO_HUB) from error


def _decoded(data: bytes, encoding: str, what: str, reason: str) -> str | Problem:
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        return Problem(reason, f"{what}: not UTF-8 (byte {error.start})")


def _join(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name
