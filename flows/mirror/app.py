"""The application: the Hub's API over a shelf of repos, and all routes and middleware put together.

Knows: addresses of the API, and which answer each one gets. Does not know: files (files, storage), sockets and threads
(server), limits (gate).
"""

from __future__ import annotations

from collections.abc import Sequence
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
from flows.mirror.accounts import ANONYMOUS, Keyring
from flows.mirror.card import read_json
from flows.mirror.faults import UnderWeather, Weather
from flows.mirror.files import FileRoutes
from flows.mirror.gate import Counts, Gate
from flows.mirror.lfs import Signer
from flows.mirror.likeness import Likeness
from flows.mirror.limits import Windows
from flows.mirror.listing import Orders, cut, read_cursor, read_limit, read_query, truthy
from flows.mirror.lookup import Lookup, account_of, split_revision
from flows.mirror.repo import Repo
from flows.mirror.shelf import Shelf
from flows.mirror.storage import StorageRoutes
from flows.mirror.wire import Moved, Refusal, json_answer, redirect, refuse

_BODY_BYTES = 1 << 20
_PATHS_MAX = 1000
_TREE_PAGE, _TREE_PAGE_EXPANDED = 1000, 50


class _AnyPath(PathConvertor):
    """A path with line breaks in it too: the stock one lets those fall through to "no such page"."""

    regex = r"(?s:.*)"


register_url_convertor("any", _AnyPath())


class Routes:
    """The handlers. Plain functions run in the server's threads, so that hashing a file blocks no one."""

    def __init__(self, lookup: Lookup, weather: Weather) -> None:
        self.lookup, self.likeness, self.weather = lookup, lookup.likeness, weather
        self.orders = Orders(lookup.shelf)

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
        ]

    def whoami(self, request: Request) -> Response:
        account = account_of(request)
        if account is ANONYMOUS:
            raise Refusal(401, "Invalid username or password.")
        orgs = [{"type": "org", "name": org} for org in account.orgs]
        auth = {"type": "access_token", "accessToken": {"displayName": account.token_name, "role": "read"}}
        told = {"type": "user", "name": account.name, "isPro": account.plan == "pro", "orgs": orgs, "auth": auth}
        return json_answer(told)

    def models(self, request: Request) -> Response:
        params, account = request.query_params, account_of(request)
        query, expand = read_query(params), _expand(params, answers.EXPANDABLE - answers.ON_A_PAGE_ONLY)
        page = self.orders.page(query, account)
        if self.weather.too_deep(page.depth, query.limit):
            raise Refusal(504, "Gateway Timeout")
        flags = {flag: truthy(params.get(name)) for flag, name in _LIST_FLAGS.items()}
        repos = [repo for repo in map(self.lookup.shelf.whole, page.rows) if repo is not None]
        rows = [answers.listed(repo, expand, nulls=self.likeness.nulls, **flags) for repo in repos]
        return json_answer(rows, headers=self._next(request, page.cursor))

    def model(self, request: Request) -> Response:
        repo = self.lookup.repo(request, request.path_params.get("revision", "main"))
        params = request.query_params
        expand, blobs = _expand(params, answers.EXPANDABLE), truthy(params.get("blobs"))
        told = answers.page(repo, expand, nulls=self.likeness.nulls, blobs=blobs)
        if "childrenModelCount" in expand:
            seen = filter(account_of(request).sees, self.lookup.shelf.rows()[1])
            told["childrenModelCount"] = answers.children(repo.id, (row.tags for row in seen))
        return json_answer(told)

    def tree(self, request: Request) -> Response:
        revision, folder = split_revision(request.path_params["at"])
        repo, params = self.lookup.repo(request, revision), request.query_params
        names = _tree_names(repo, revision, folder.strip("/"), recursive=truthy(params.get("recursive")))
        expand = truthy(params.get("expand"))
        limit = read_limit(params, _TREE_PAGE_EXPANDED if expand else _TREE_PAGE)
        page, cursor = cut(names, lambda name: (name,), limit, read_cursor(params))
        entries = [answers.tree_entry(name, repo, xet=self.likeness.xet, expand=expand) for name in page]
        return json_answer([entry for entry in entries if entry], headers=self._next(request, cursor))

    async def paths_info(self, request: Request) -> Response:
        paths, expand = _asked_paths(await _body(request), request.headers.get("content-type", ""))
        repo = await run_in_threadpool(self.lookup.repo, request, request.path_params["revision"])
        xet = self.likeness.xet
        entries = [answers.tree_entry(path.strip("/"), repo, xet=xet, expand=expand) for path in paths]
        return json_answer([entry for entry in entries if entry])

    def refs(self, request: Request) -> Response:
        repo = self.lookup.repo(request, "main")
        return json_answer(answers.refs(repo, pull_requests=truthy(request.query_params.get("include_prs"))))

    def _next(self, request: Request, cursor: str | None) -> dict[str, str]:
        """The link to the next page, under our own name or the one we say is public."""
        if cursor is None:
            return {}
        url = str(request.url.include_query_params(cursor=cursor))
        if self.likeness.public_name:
            url = self.likeness.public_name + url.removeprefix(f"{request.url.scheme}://{request.url.netloc}")
        return {"Link": f'<{url}>; rel="next"'}


_LIST_FLAGS = {"full": "full", "card": "cardData", "config": "config"}


def build(
    shelf: Shelf,
    keys: Keyring,
    windows: Windows,
    counts: Counts,
    weather: Weather,
    hosts: Sequence[str],
    likeness: Likeness,
) -> Starlette:
    """The application; `hosts` are the Host names it answers to: its links repeat them."""
    middleware = [
        Middleware(TrustedHostMiddleware, allowed_hosts=list(hosts), www_redirect=False),
        Middleware(Gate, keys, windows, counts, likeness),
        Middleware(UnderWeather, weather, counts),
    ]
    lookup, signer = Lookup(shelf, likeness), Signer()
    rooms = (Routes(lookup, weather), StorageRoutes(lookup, signer), FileRoutes(lookup, signer))
    app = Starlette(routes=[route for room in rooms for route in room.table()], middleware=middleware)
    app.router.redirect_slashes = False
    app.add_exception_handler(Refusal, _refused)
    app.add_exception_handler(Moved, _moved)
    app.add_exception_handler(HTTPException, _missing)
    return app


def _refused(request: Request, error: Exception) -> Response:
    return refuse(cast(Refusal, error), request.url.path)  # Starlette's handlers are typed for any exception


def _moved(request: Request, error: Exception) -> Response:
    """The address asked for, with the new name in it: all else, query and escapes too, stays as it was sent."""
    words = request.scope["raw_path"].decode("ascii").split("/")
    path = request.scope["path"]
    at = 3 if path.startswith("/api/models/") else 4 if path.startswith("/api/resolve-cache/") else 1
    words[at : at + (1 if "%2f" in words[at].lower() else 2)] = [cast(Moved, error).repo_id]
    query = request.scope["query_string"].decode("latin-1")
    return redirect(307, "/".join(words) + (f"?{query}" if query else ""))


def _missing(request: Request, error: Exception) -> Response:
    return refuse(Refusal(404, "Sorry, we can't find the page you are looking for."), request.url.path)


def _expand(params: QueryParams, known: frozenset[str]) -> list[str]:
    wanted = params.getlist("expand") + params.getlist("expand[]")
    if not known.issuperset(wanted):
        raise Refusal(400, f'"expand" must be one of [{", ".join(sorted(known))}]')
    return wanted


def _tree_names(repo: Repo, revision: str, folder: str, *, recursive: bool) -> list[str]:
    """Files and folders below a folder, by name."""
    prefix = f"{folder}/" if folder else ""
    files = {file.name for file in repo.files if file.name.startswith(prefix)}
    if not files:
        raise Refusal(404, f'{folder} does not exist on "{revision}"', "EntryNotFound")
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
