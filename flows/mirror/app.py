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
from flows.mirror.gate import Counts, Gate
from flows.mirror.lfs import Signer, other_origin
from flows.mirror.limits import Windows
from flows.mirror.listing import cut, pick, read_cursor, read_limit, read_query, truthy
from flows.mirror.repos import Repo, Shelf
from flows.mirror.wire import Json, Refusal, file_body, refuse

_BODY_BYTES = 1 << 20
_PATHS_MAX = 1000
_TREE_PAGE, _TREE_PAGE_EXPANDED = 1000, 100


class _AnyPath(PathConvertor):
    """A path with line breaks in it too: the stock one lets those fall through to "no such page"."""

    regex = r"(?s:.*)"


register_url_convertor("any", _AnyPath())


class Routes:
    """The handlers. Plain functions run in the server's threads, so that hashing a file blocks no one."""

    def __init__(self, shelf: Shelf, signer: Signer) -> None:
        self.shelf, self.signer = shelf, signer

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
        visible = (repo for repo in self.shelf.repos() if not repo.sidecar.private or account.owns(repo))
        page, cursor = pick(visible, query)
        flags = {flag: truthy(params.get(name)) for flag, name in _LIST_FLAGS.items()}
        rows = [answers.listed(repo, expand, **flags) for repo in page]
        return Json(rows, headers=_next(request, cursor))

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

    def resolve(self, request: Request) -> Response:
        revision, name = split_revision(request.path_params["at"])
        repo = self._repo(request, revision)
        open_content(repo, _account(request))
        file = repo.file(name)
        if file is None:
            raise Refusal(404, "Entry not found", "EntryNotFound", repo.sha)
        headers = {"X-Repo-Commit": repo.sha, "ETag": f'"{file.etag}"', "Accept-Ranges": "bytes"}
        if not file.lfs:
            return file_body(repo.folder, file, headers)
        headers |= {"X-Linked-Size": str(file.size), "X-Linked-ETag": f'"{file.sha256}"'}
        origin = other_origin(request.url.scheme, request.headers.get("host", ""))
        if origin is None:  # no second name: the client would take a redirect for one inside the Hub
            return file_body(repo.folder, file, headers)
        headers["Location"] = origin + self.signer.address(repo.id, file.sha256, file.name)
        return Response("Found. Redirecting to the file's storage.", 302, headers, "text/plain")

    def lfs(self, request: Request) -> Response:
        repo_id, sha256 = _repo_id(request), request.path_params["sha256"]
        name, expires, signature = (request.query_params.get(key, "") for key in ("name", "Expires", "Signature"))
        if not self.signer.holds(repo_id, sha256, name, expires, signature):
            raise Refusal(403, "Access denied")
        repo = self.shelf.repo(repo_id)
        file = repo.file(name) if repo else None
        if repo is None or file is None or file.sha256 != sha256:
            raise Refusal(404, "Not found")
        return file_body(repo.folder, file, {"ETag": f'"{sha256}"'})

    def _repo(self, request: Request, revision: str) -> Repo:
        repo = see(self.shelf.repo(_repo_id(request)), _account(request))
        if not repo.has_revision(revision):
            raise Refusal(404, "Invalid rev id", "RevisionNotFound")
        return repo


_LIST_FLAGS = {"full": "full", "card": "cardData", "config": "config"}


def split_revision(at: str) -> tuple[str, str]:
    """`main/a/b` or `refs/heads/main/a/b` as revision and path: only names under refs/ hold slashes."""
    words = at.split("/")
    taken = 3 if words[0] == "refs" else 1
    return "/".join(words[:taken]), "/".join(words[taken:])


def build(
    shelf: Shelf, tokens: Mapping[str, Account], windows: Windows, counts: Counts, hosts: Sequence[str]
) -> Starlette:
    """The application; `hosts` are the Host names it answers to: its links repeat them."""
    middleware = [
        Middleware(TrustedHostMiddleware, allowed_hosts=list(hosts), www_redirect=False),
        Middleware(Gate, tokens, windows, counts),
    ]
    app = Starlette(routes=Routes(shelf, Signer()).table(), middleware=middleware)
    app.router.redirect_slashes = False
    app.add_exception_handler(Refusal, _refused)
    app.add_exception_handler(HTTPException, _missing)
    return app


def _refused(request: Request, error: Exception) -> Response:
    return refuse(cast(Refusal, error))  # Starlette's handlers are typed for any exception


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
