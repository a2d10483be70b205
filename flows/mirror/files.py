"""File routes: a repo's files by name, and where the Hub sends who asks for them.

Knows: resolve, resolve-cache, raw, and the host of large files. Does not know: Xet's storage, the API.
"""

from __future__ import annotations

import re
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from flows.mirror.content import Text
from flows.mirror.disk import HubFile, lfs_pointer
from flows.mirror.lfs import LFS_ROOT, Signer, other_origin
from flows.mirror.lookup import Lookup, repo_id_of
from flows.mirror.repo import Repo
from flows.mirror.storage import FILE_INFO, told_of_xet
from flows.mirror.wire import Refusal, disposition, file_body, json_answer, redirect

_SIGNED = ("name", "commit", "Expires", "Signature")
_REDIRECTED = {"Accept-Ranges": "bytes", "Vary": "Accept"}
_COMMIT = re.compile(r"[0-9a-f]{40}")


class FileRoutes:
    """The handlers."""

    def __init__(self, lookup: Lookup, signer: Signer) -> None:
        self.lookup, self.signer, self.likeness = lookup, signer, lookup.likeness

    def table(self) -> list[Route]:
        return [
            Route("/{org}/{name}/resolve/{at:any}", self.resolve),
            Route("/{org}/{name}/raw/{at:any}", self.raw),
            Route("/api/resolve-cache/models/{org}/{name}/{at:any}", self.resolve_cache),
            Route(f"{LFS_ROOT}/{{org}}/{{name}}/{{sha256}}", self.large),
        ]

    def resolve(self, request: Request) -> Response:
        """A text file lies behind a redirect to a place of its commit, a large one on another host."""
        repo, file = self.lookup.entry(request)
        if file.lfs:
            return self._elsewhere(request, repo, file)
        if not self.likeness.resolve_cache or repo.private or repo.gated:  # what not everybody may read is in no cache
            return self._text(repo, file)
        headers = {"X-Repo-Commit": repo.sha, "X-Linked-ETag": f'"{file.etag}"', **_REDIRECTED}
        if request.method == "HEAD":
            headers["Content-Disposition"] = disposition(file.name)
        asked, etag = quote(request.url.path, safe=""), quote(f'"{file.etag}"')
        place = f"/api/resolve-cache/models/{repo.id}/{repo.sha}/{quote(file.name, safe='')}"
        return redirect(307, f"{place}?{asked}=&etag={etag}", headers)

    def resolve_cache(self, request: Request) -> Response:
        """A file of one commit: nothing but a commit's full sha names that."""
        commit = request.path_params["at"].partition("/")[0]
        if _COMMIT.fullmatch(commit) is None:
            raise Refusal(400, "Invalid commit: expected a full sha")
        repo, file = self.lookup.entry(request)
        return self._elsewhere(request, repo, file) if file.lfs else self._text(repo, file)

    def raw(self, request: Request) -> Response:
        """A file as git holds it: a pointer in place of a large one. The JavaScript client asks it what exists."""
        repo, file = self.lookup.entry(request)
        headers = {"X-Repo-Commit": repo.sha, "ETag": f'"{file.oid}"'}
        if not file.lfs:
            return file_body(self.lookup.shelf.content(repo, file), file, headers)
        pointer = lfs_pointer(file.size, file.sha256)
        stored = HubFile(file.name, len(pointer), file.oid, "", lfs=False, pointer_size=0)
        return file_body(Text(pointer), stored, headers)

    def large(self, request: Request) -> Response:
        """A large file on its own host, which knows signatures and no repos' headers."""
        repo_id, sha256 = repo_id_of(request), request.path_params["sha256"]
        name, commit, expires, signature = (request.query_params.get(key, "") for key in _SIGNED)
        if not self.signer.holds(repo_id, sha256, name, commit, expires, signature):
            raise Refusal(403, "Access denied")
        for repo in self.lookup.at_commit(repo_id, commit):
            file = repo.file(name)
            if file and file.sha256 == sha256:
                etag = told_of_xet(file, "", "", self.likeness).get("X-Xet-Hash", file.sha256)
                headers = {"ETag": f'"{etag}"', "Cache-Control": "public, max-age=31536000"}
                return file_body(self.lookup.shelf.content(repo, file), file, headers)
        raise Refusal(404, "Not found")

    def _text(self, repo: Repo, file: HubFile) -> Response:
        headers = {"X-Repo-Commit": repo.sha, "ETag": f'"{file.etag}"', "Accept-Ranges": "bytes"}
        return file_body(self.lookup.shelf.content(repo, file), file, headers)

    def _elsewhere(self, request: Request, repo: Repo, file: HubFile) -> Response:
        headers = {
            "X-Repo-Commit": repo.sha,
            "X-Linked-Size": str(file.size),
            "X-Linked-ETag": f'"{file.sha256}"',
            **_REDIRECTED,
        }
        own = f"{request.url.scheme}://{request.headers.get('host', '')}"
        origin = other_origin(request.url.scheme, request.headers.get("host", ""))
        if origin is None:  # no second name: the client would take a redirect for one inside the Hub
            return file_body(self.lookup.shelf.content(repo, file), file, headers | {"ETag": f'"{file.sha256}"'})
        token_route = f"{own}/api/models/{repo.id}/xet-read-token/{repo.sha}"
        headers |= told_of_xet(file, token_route, origin, self.likeness) | {"Cache-Control": "no-store"}
        if self.likeness.xet and FILE_INFO in request.headers.get("accept", ""):
            return _file_info(headers)
        return redirect(302, origin + self.signer.address(repo.id, file.sha256, file.name, repo.sha), headers)


def _file_info(headers: dict[str, str]) -> Response:
    """What a client that speaks Xet asks for in place of a redirect."""
    answer = json_answer({"hash": headers["X-Xet-Hash"]}, 200, headers)
    answer.headers["Content-Type"] = FILE_INFO
    return answer
