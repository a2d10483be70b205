"""The application: the Hub's routes over a shelf of repos.

Knows: addresses, and which answer each one gets. Does not know: sockets, threads (server), limits (gate).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast
from urllib.parse import parse_qs

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.convertors import PathConvertor, register_url_convertor
from starlette.datastructures import QueryParams
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from flows.mirror import answers
from flows.mirror.accounts import ANONYMOUS, Account, open_content, see
from flows.mirror.card import read_json
from flows.mirror.content import ContentResponse, Text
from flows.mirror.disk import HubFile, lfs_pointer
from flows.mirror.faults import UnderWeather, Weather
from flows.mirror.gate import Counts, Gate
from flows.mirror.lfs import Signer, other_origin
from flows.mirror.limits import Windows
from flows.mirror.listing import Orders, cut, read_cursor, read_limit, read_query, truthy
from flows.mirror.repos import Repo
from flows.mirror.shelf import Shelf
from flows.mirror.wire import Json, Moved, Refusal, file_body, moved, refuse

_BODY_BYTES = 1 << 20
_PATHS_MAX = 1000
_TREE_PAGE, _TREE_PAGE_EXPANDED = 1000, 100


class _AnyPath(PathConvertor):
    """A path with line breaks in it too: the stock one lets those fall through to "no such page"."""

    regex = r"(?s:.*)"


register_url_convertor("any", _AnyPath())


class Routes:
    """The handlers. Plain functions run in the server's threads, so that hashing a file blocks no one."""

    def __init__(self, shelf: Shelf, signer: Signer, weather: Weather) -> None:
        self.shelf, self.signer, self.weather = shelf, signer, weather
        self.orders = Orders(shelf)

    def table(self) -> list[Route]:
        repo = "/api/models/{org}/{name}"
        return [
            Route("/api/whoami-v2", self.whoami),
            Route("/api/models", self.models),
            Route(repo, self.model),
            Route(f"{repo}/revision/{{revision:any}}", self.model),
            Route(f"{repo}/tree/{{at:any}}", self.tree),
            Route(f"{repo}/paths-info/{{revision:any}}", self.paths_info, methods=["POST"]),
            Route(f"{repo}/refs", self.refs),
            Route("/{org}/{name}/resolve/{at:any}", self.resolve),
            Route("/{org}/{name}/raw/{at:any}", self.raw),
            Route("/lfs/{org}/{name}/{sha256}", self.lfs),
        ]

    def whoami(self, request: Request) -> Response:
        account = _account(request)
        if account is ANONYMOUS:
            raise Refusal(401, "Invalid username or password.")
        orgs = [{"type": "org", "name": org} for org in account.orgs]
        return Json({"type": "user", "name": account.name, "isPro": account.plan == "pro", "orgs": orgs})

    def models(self, request: Request) -> Response:
        params, account = request.query_params, _account(request)
        query, expand = read_query(params), _expand(params)
        page = self.orders.page(query, account)
        if self.weather.too_deep(page.depth, query.limit):
            raise Refusal(504, "Gateway Timeout")
        flags = {flag: truthy(params.get(name)) for flag, name in _LIST_FLAGS.items()}
        repos = (repo for repo in map(self.shelf.whole, page.rows) if repo is not None)
        return Json([answers.listed(repo, expand, **flags) for repo in repos], headers=_next(request, page.cursor))

    def model(self, request: Request) -> Response:
        repo = self._repo(request, request.path_params.get("revision", "main"))
        params = request.query_params
        return Json(answers.page(repo, _expand(params), blobs=truthy(params.get("blobs"))))

    def tree(self, request: Request) -> Response:
        revision, folder = split_revision(request.path_params["at"])
        repo, params = self._repo(request, revision), request.query_params
        names = _tree_names(repo, folder.strip("/"), recursive=truthy(params.get("recursive")))
        expand = truthy(params.get("expand"))
        limit = read_limit(params, _TREE_PAGE_EXPANDED if expand else _TREE_PAGE)
        page, cursor = cut(names, lambda name: (name,), limit, read_cursor(params))
        entries = [answers.tree_entry(name, repo, expand=expand) for name in page]
        return Json([entry for entry in entries if entry], headers=_next(request, cursor))

    async def paths_info(self, request: Request) -> Response:
        paths, expand = _asked_paths(await _body(request), request.headers.get("content-type", ""))
        repo = await run_in_threadpool(self._repo, request, request.path_params["revision"])
        entries = [answers.tree_entry(path.strip("/"), repo, expand=expand) for path in paths]
        return Json([entry for entry in entries if entry])

    def refs(self, request: Request) -> Response:
        repo = self._repo(request, "main")
        return Json(answers.refs(repo, pull_requests=truthy(request.query_params.get("include_prs"))))

    def raw(self, request: Request) -> Response:
        """A file as git holds it: a pointer in place of a large one. The JavaScript client asks it what exists."""
        repo, file = self._entry(request)
        headers = {"X-Repo-Commit": repo.sha, "ETag": f'"{file.oid}"'}
        if not file.lfs:
            return file_body(self.shelf.content(repo, file), file, headers)
        return ContentResponse(Text(lfs_pointer(file.size, file.sha256)), headers, "text/plain; charset=utf-8")

    def resolve(self, request: Request) -> Response:
        repo, file = self._entry(request)
        headers = {"X-Repo-Commit": repo.sha, "ETag": f'"{file.etag}"', "Accept-Ranges": "bytes"}
        content = self.shelf.content(repo, file)
        if not file.lfs:
            return file_body(content, file, headers)
        headers |= {"X-Linked-Size": str(file.size), "X-Linked-ETag": f'"{file.sha256}"'}
        origin = other_origin(request.url.scheme, request.headers.get("host", ""))
        if origin is None:  # no second name: the client would take a redirect for one inside the Hub
            return file_body(content, file, headers)
        headers["Location"] = origin + self.signer.address(repo.id, file.sha256, file.name, repo.sha)
        return Response("Found. Redirecting to the file's storage.", 302, headers, "text/plain")

    def lfs(self, request: Request) -> Response:
        repo_id, sha256 = _repo_id(request), request.path_params["sha256"]
        name, commit, expires, signature = (request.query_params.get(key, "") for key in _SIGNED)
        if not self.signer.holds(repo_id, sha256, name, commit, expires, signature):
            raise Refusal(403, "Access denied")
        newest = self.shelf.repo(repo_id)
        for repo in (newest, newest and self.shelf.older(newest, commit)):
            file = repo.file(name) if repo else None
            if repo and file and file.sha256 == sha256:
                return file_body(self.shelf.content(repo, file), file, {"ETag": f'"{sha256}"'})
        raise Refusal(404, "Not found")

    def _entry(self, request: Request) -> tuple[Repo, HubFile]:
        revision, name = split_revision(request.path_params["at"])
        repo = self._repo(request, revision)
        open_content(repo, _account(request))
        file = repo.file(name)
        if file is None:
            raise Refusal(404, "Entry not found", "EntryNotFound", repo.sha)
        return repo, file

    def _repo(self, request: Request, revision: str) -> Repo:
        repo = self._newest(_repo_id(request), _account(request))
        at = repo if repo.has_revision(revision) else self.shelf.older(repo, revision)
        if at is None:
            raise Refusal(404, "Invalid rev id", "RevisionNotFound")
        return at

    def _newest(self, repo_id: str, account: Account) -> Repo:
        repo = self.shelf.repo(repo_id)
        new_name = None if repo else self.shelf.renamed(repo_id)
        if new_name:  # seen first: the name of a private repo is told to nobody else
            raise Moved(see(self.shelf.repo(new_name), account).id)
        return see(repo, account)


_SIGNED = ("name", "commit", "Expires", "Signature")
_LIST_FLAGS = {"full": "full", "card": "cardData", "config": "config"}


def split_revision(at: str) -> tuple[str, str]:
    """`main/a/b` or `refs/heads/main/a/b` as revision and path: only names under refs/ hold slashes."""
    words = at.split("/")
    taken = 3 if words[0] == "refs" else 1
    return "/".join(words[:taken]), "/".join(words[taken:])


def build(
    shelf: Shelf,
    tokens: Mapping[str, Account],
    windows: Windows,
    counts: Counts,
    weather: Weather,
    hosts: Sequence[str],
) -> Starlette:
    """The application; `hosts` are the Host names it answers to: its links repeat them."""
    middleware = [
        Middleware(TrustedHostMiddleware, allowed_hosts=list(hosts), www_redirect=False),
        Middleware(Gate, tokens, windows, counts),
        Middleware(UnderWeather, weather, counts),
    ]
    app = Starlette(routes=Routes(shelf, Signer(), weather).table(), middleware=middleware)
    app.router.redirect_slashes = False
    app.add_exception_handler(Refusal, _refused)
    app.add_exception_handler(Moved, _moved)
    app.add_exception_handler(HTTPException, _missing)
    return app


def _refused(request: Request, error: Exception) -> Response:
    return refuse(cast(Refusal, error))  # Starlette's handlers are typed for any exception


def _moved(request: Request, error: Exception) -> Response:
    """The address asked for, with the new name in it: all else, query and escapes too, stays as it was sent."""
    words = request.scope["raw_path"].decode("ascii").split("/")
    at = 3 if request.scope["path"].startswith("/api/models/") else 1
    words[at : at + (1 if "%2f" in words[at].lower() else 2)] = [cast(Moved, error).repo_id]
    query = request.scope["query_string"].decode("latin-1")
    return moved("/".join(words) + (f"?{query}" if query else ""))


def _missing(request: Request, error: Exception) -> Response:
    return refuse(Refusal(404, "Sorry, we can't find the page you are looking for."))


def _account(request: Request) -> Account:
    account: Account = request.state.account
    return account


def _repo_id(request: Request) -> str:
    return f"{request.path_params['org']}/{request.path_params['name']}"


def _expand(params: QueryParams) -> list[str]:
    wanted = params.getlist("expand") + params.getlist("expand[]")
    if unknown := sorted(set(wanted) - answers.EXPANDABLE):
        raise Refusal(400, f"Invalid expand: {len(unknown)} unknown, expected {sorted(answers.EXPANDABLE)}")
    return wanted


def _next(request: Request, cursor: str | None) -> dict[str, str]:
    if cursor is None:
        return {}
    return {"Link": f'<{request.url.include_query_params(cursor=cursor)}>; rel="next"'}


def _tree_names(repo: Repo, folder: str, *, recursive: bool) -> list[str]:
    """Files and folders below a folder, by name."""
    prefix = f"{folder}/" if folder else ""
    files = {file.name for file in repo.files if file.name.startswith(prefix)}
    if not files:
        raise Refusal(404, "Entry not found", "EntryNotFound", repo.sha)
    names = files | {name for name in answers.folders_of(files) if name.startswith(prefix)}
    return sorted(name for name in names if recursive or "/" not in name[len(prefix) :])


async def _body(request: Request) -> bytes:
    taken = b""
    async for block in request.stream():
        taken += block
        if len(taken) > _BODY_BYTES:
            raise Refusal(413, "The request is too large")
    return taken


def _asked_paths(body: bytes, content_type: str) -> tuple[list[str], bool]:
    """The paths and `expand` of a paths-info request: a form from Python, JSON from JavaScript."""
    text = body.decode("utf-8", "replace")
    if content_type.startswith("application/json"):
        asked = read_json(text)
        paths, expand = asked.get("paths"), asked.get("expand") is True
    else:
        form = parse_qs(text, max_num_fields=_PATHS_MAX + 10)
        paths, expand = form.get("paths"), truthy(form.get("expand", [""])[0])
    paths = [paths] if isinstance(paths, str) else paths
    if not isinstance(paths, list) or len(paths) > _PATHS_MAX or not all(isinstance(path, str) for path in paths):
        raise Refusal(400, f"Invalid paths: expected up to {_PATHS_MAX} names")
    return paths, expand
