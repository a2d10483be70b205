"""The wire: JSON, refusals, redirects and file bodies as HTTP responses.

Knows: headers and status codes, in the forms that the Hub was recorded to use. Does not know: routes, who asks.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from starlette.responses import FileResponse, Response

from flows.mirror.compression import Packable
from flows.mirror.content import Content, ContentResponse, read_all
from flows.mirror.disk import HubFile

_PLAIN = "text/plain; charset=utf-8"
_SANDBOX = {
    # Never text/html: a page in a repo is a stranger's, and must not run in anybody's browser.
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; sandbox",
}


class Refusal(Exception):
    """An answer other than the one asked for: status, the Hub's error code, and a sentence."""

    def __init__(self, status: int, message: str, code: str = "", commit: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = code
        self.commit = commit


class Moved(Exception):
    """The repo goes by another name now."""

    def __init__(self, repo_id: str) -> None:
        super().__init__(repo_id)
        self.repo_id = repo_id


def json_answer(content: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """JSON in ASCII: names and cards may hold letters that no encoding of the body can carry."""
    body = json.dumps(content, allow_nan=False, separators=(",", ":")).encode("ascii")
    return Packable(_whole(body, status, headers or {}, "application/json; charset=utf-8"), len(body), lambda: body)


def refuse(refusal: Refusal, path: str) -> Response:
    """A refusal as the Hub words it: the client tells its exceptions by X-Error-Code, if there is one.

    The API speaks JSON, the file routes plain text.
    """
    headers = {"X-Error-Message": _in_header(refusal.message)}
    if refusal.code:
        headers["X-Error-Code"] = refusal.code
    if refusal.commit:
        headers |= {"X-Repo-Commit": refusal.commit, "Accept-Ranges": "bytes"}
    if refusal.status == 401:
        headers["WWW-Authenticate"] = 'Bearer realm="Authentication required", charset="UTF-8"'
    if path.startswith("/api/") and not path.startswith("/api/resolve-cache/"):
        return json_answer({"error": refusal.message}, refusal.status, headers)
    return _whole(refusal.message.encode("utf-8", "replace"), refusal.status, headers, _PLAIN)


def redirect(status: int, target: str, headers: Mapping[str, str] | None = None) -> Response:
    """To another address; 307 keeps a POST one. The body says it too, so its length is not the file's."""
    words = {302: "Found", 307: "Temporary Redirect"}[status]
    body = f"{words}. Redirecting to {target}".encode()
    return Response(body, status, {"Location": target, **(headers or {})}, _PLAIN)


def file_body(content: Path | Content, file: HubFile, headers: dict[str, str]) -> Response:
    """The file's bytes: a large one in ranges if asked, a text packed if the request takes that."""
    told = headers | {"Content-Disposition": disposition(file.name)} | _SANDBOX
    kind = "application/octet-stream" if file.lfs else _PLAIN
    plain: Response
    if isinstance(content, Path):
        plain = FileResponse(content, headers=told, media_type=kind, stat_result=content.stat())
    else:
        plain = ContentResponse(content, told, kind)
    return plain if file.lfs else Packable(plain, file.size, lambda: read_all(content))


def disposition(name: str) -> str:
    """Content-Disposition: a file's last name, for a browser's save dialog."""
    base = name.rpartition("/")[2]
    simple = "".join(letter if " " <= letter <= "~" and letter not in '"\\' else "_" for letter in base)
    return f"inline; filename*=UTF-8''{quote(base)}; filename=\"{simple}\";"


def _whole(body: bytes, status: int, headers: Mapping[str, str], kind: str) -> Response:
    return Response(body, status, {"ETag": _weak_etag(body), **headers}, kind)


def _weak_etag(body: bytes) -> str:
    """The Hub's of what it makes up on the spot: length and hash of the body."""
    digest = base64.b64encode(hashlib.sha1(body, usedforsecurity=False).digest()).decode()
    return f'W/"{len(body):x}-{digest[:27]}"'


def _in_header(message: str) -> str:
    """A sentence as a header can carry it: it may repeat a name that came from outside."""
    return "".join(letter if " " <= letter <= "~" else "?" for letter in message[:500])
