"""Storage routes: the token route of the API, and the Xet storage behind it.

Knows: permits, and which file a hash means under one. Does not know: how a file becomes chunks (xet), the other routes.
"""

from __future__ import annotations

import re
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from flows.mirror.content import Bytes, Content, ContentResponse
from flows.mirror.disk import HubFile
from flows.mirror.lfs import XET_ROOT, Signer, other_origin
from flows.mirror.likeness import Likeness
from flows.mirror.lookup import Lookup
from flows.mirror.repo import Repo
from flows.mirror.wire import Refusal, json_answer
from flows.mirror.xet import Xorb, first_version, reconstruction, xet_hash, xorb_hash, xorbs_of

FILE_INFO = "application/vnd.xet-fileinfo+json"
_NUMBER = re.compile(r"\d{1,8}", re.ASCII)
_RANGE = re.compile(r"bytes=(\d{1,18})-(\d{1,18})")


def told_of_xet(file: HubFile, token_route: str, origin: str, likeness: Likeness) -> dict[str, str]:
    """The headers by which a client learns that a large file can come through Xet; none when that is off."""
    if not likeness.xet:
        return {}
    name = xet_hash(file)
    cas = likeness.cas_url or origin + XET_ROOT
    links = f'<{token_route}>; rel="xet-auth", <{cas}/v1/reconstructions/{name}>; rel="xet-reconstruction-info"'
    return {"X-Xet-Hash": name, "Link": links}


class StorageRoutes:
    """The handlers."""

    def __init__(self, lookup: Lookup, signer: Signer) -> None:
        self.lookup, self.signer, self.likeness = lookup, signer, lookup.likeness

    def table(self) -> list[Route]:
        if not self.likeness.xet:
            return []
        return [
            Route("/api/models/{org}/{name}/xet-read-token/{revision:any}", self.read_token),
            Route(f"{XET_ROOT}/{{version}}/reconstructions/{{hash}}", self.reconstruction),
            Route(f"{XET_ROOT}/xorbs/{{hash}}/{{number}}", self.xorb),
            Route(f"{XET_ROOT}/v1/telemetry", self.telemetry, methods=["POST"]),
        ]

    def read_token(self, request: Request) -> Response:
        """A permit for the large files of a repo at a commit: a call of the API."""
        repo = self.lookup.content(request, request.path_params["revision"])
        token, expires = self.signer.permit(repo.id, repo.sha)
        host = request.headers.get("host", "")
        origin = other_origin(request.url.scheme, host) or f"{request.url.scheme}://{host}"
        cas = self.likeness.cas_url or origin + XET_ROOT
        headers = {"X-Xet-Cas-Url": cas, "X-Xet-Access-Token": token, "X-Xet-Token-Expiration": str(expires)}
        return json_answer({"accessToken": token, "exp": expires, "casUrl": cas}, headers=headers)

    def reconstruction(self, request: Request) -> Response:
        """What to fetch for a file, or for a range of it."""
        token = request.headers.get("authorization", "").removeprefix("Bearer ").strip()
        _, file = self._permitted(token, request.path_params["hash"])
        start, stop = 0, file.size
        if (asked := request.headers.get("range")) is not None:
            found = _RANGE.fullmatch(asked)
            if found is None:
                raise Refusal(400, "Invalid range")
            start, stop = int(found[1]), min(file.size, int(found[2]) + 1)
            if start >= stop:
                raise Refusal(416, "Range not satisfiable")
        address = f"{request.url.scheme}://{request.headers.get('host', '')}{XET_ROOT}/xorbs/{xet_hash(file)}"
        told = reconstruction(file, start, stop, lambda number: f"{address}/{number}?Token={token}")
        if request.path_params["version"] == "v1":
            told = first_version(told)
        elif request.path_params["version"] != "v2":
            raise Refusal(404, "Not found")
        return json_answer(told)

    def xorb(self, request: Request) -> Response:
        """A xorb, or a range of it; its address carries the permit."""
        token, number = request.query_params.get("Token", ""), request.path_params["number"]
        repo, file = self._permitted(token, request.path_params["hash"])
        if _NUMBER.fullmatch(number) is None or int(number) >= xorbs_of(file.size):
            raise Refusal(404, "Not found")
        content = self.lookup.shelf.content(repo, file)
        readable: Content = Bytes(content, file.size) if isinstance(content, Path) else content
        headers = {"ETag": f'"{xorb_hash(file, int(number))}"'}
        return ContentResponse(Xorb(readable, int(number)), headers, "application/octet-stream")

    async def telemetry(self, request: Request) -> Response:
        """Taken and thrown away."""
        return Response(status_code=200)

    def _permitted(self, token: str, name: str) -> tuple[Repo, HubFile]:
        """The file that a hash means under a permit."""
        scope = self.signer.permitted(token)
        if scope is None:
            raise Refusal(401, "Unauthorized")
        for repo in self.lookup.at_commit(*scope):
            for file in repo.files:
                if file.lfs and xet_hash(file) == name:
                    return repo, file
        raise Refusal(404, "Not found")
