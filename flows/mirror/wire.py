"""The wire: JSON, refusals and file bodies as HTTP responses.

Knows: headers and status codes. Does not know: routes, who asks, when to refuse.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

from starlette.responses import FileResponse, JSONResponse, Response

from flows.mirror.content import Content, ContentResponse
from flows.mirror.disk import HubFile


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


class Json(JSONResponse):
    """JSON in ASCII: names and cards may hold letters that no encoding of the body can carry."""

    def render(self, content: Any) -> bytes:
        return json.dumps(content, allow_nan=False, separators=(",", ":")).encode("ascii")


def refuse(refusal: Refusal) -> Response:
    """A refusal as the Hub words it: the client tells its exceptions by X-Error-Code."""
    headers = {"X-Error-Message": refusal.message}
    if refusal.code:
        headers["X-Error-Code"] = refusal.code
    if refusal.commit:
        headers["X-Repo-Commit"] = refusal.commit
    if refusal.status == 401:
        headers["WWW-Authenticate"] = 'Bearer realm="Authentication required"'
    return Json({"error": refusal.message}, refusal.status, headers)


def moved(target: str) -> Response:
    """To the same page of the repo's new name; 307, so that a POST stays one."""
    return Response(f"Temporary Redirect. Redirecting to {target}", 307, {"Location": target}, "text/plain")


def file_body(content: Path | Content, file: HubFile, headers: dict[str, str]) -> Response:
    """The file's bytes, in ranges if asked; the name is for a browser's save dialog."""
    base = quote(file.name.rpartition("/")[2])
    # Never text/html: a page in a repo is a stranger's, and must not run in anybody's browser.
    shown = {"Content-Disposition": f"inline; filename*=UTF-8''{base}", "X-Content-Type-Options": "nosniff"}
    kind = "application/octet-stream" if file.lfs else "text/plain; charset=utf-8"
    if isinstance(content, Path):
        return FileResponse(content, headers=headers | shown, media_type=kind, stat_result=content.stat())
    return ContentResponse(content, headers | shown, kind)
