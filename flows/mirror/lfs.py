"""The file host: signed addresses and permits for large files, as the Hub's redirects carry.

Knows: signing and checking. Does not know: who may see a repo; an address is its own permit.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import time
from collections.abc import Callable
from urllib.parse import quote, urlencode

LIFETIME_S = 3600
LFS_ROOT = "/lfs"
XET_ROOT = "/-/xet"  # no organisation can be called that
FILE_HOST = (f"{LFS_ROOT}/", f"{XET_ROOT}/")
_TWINS = {"127.0.0.1": "localhost", "localhost": "127.0.0.1"}


def other_origin(scheme: str, host: str) -> str | None:
    """The server under its other loopback name: to a client, another origin. None when it has no other."""
    name, _, port = host.partition(":")
    return f"{scheme}://{_TWINS[name]}{':' if port else ''}{port}" if name in _TWINS else None


class Signer:
    """Signs `/lfs/REPO/SHA256` until a time, with a key that lives as long as the server."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._key = secrets.token_bytes(32)
        self._clock = clock

    def address(self, repo_id: str, sha256: str, name: str, commit: str) -> str:
        expires = int(self._clock()) + LIFETIME_S
        signature = self._sign(repo_id, sha256, name, commit, expires)
        query = {"name": name, "commit": commit, "Expires": expires, "Signature": signature}
        return f"{LFS_ROOT}/{quote(repo_id)}/{sha256}?{urlencode(query)}"

    def holds(self, repo_id: str, sha256: str, name: str, commit: str, expires: str, signature: str) -> bool:
        if not (expires.isascii() and expires.isdigit() and len(expires) < 12):
            return False
        good = self._sign(repo_id, sha256, name, commit, int(expires))
        return hmac.compare_digest(good.encode(), signature.encode()) and int(expires) >= self._clock()

    def permit(self, repo_id: str, commit: str) -> tuple[str, int]:
        """A token for all large files of a repo at a commit, and when it ends."""
        expires = int(self._clock()) + LIFETIME_S
        scope = base64.urlsafe_b64encode(json.dumps([repo_id, commit, expires]).encode()).decode()
        return f"xet_{scope}.{self._sign('xet', scope)}", expires

    def permitted(self, token: str) -> tuple[str, str] | None:
        """The repo and the commit that a token opens; None for a dead or a made-up one."""
        scope, _, signature = token.removeprefix("xet_").partition(".")
        if not hmac.compare_digest(self._sign("xet", scope).encode(), signature.encode()):
            return None
        repo_id, commit, expires = json.loads(base64.urlsafe_b64decode(scope))
        return (repo_id, commit) if expires >= self._clock() else None

    def _sign(self, *words: object) -> str:
        return hmac.new(self._key, "\0".join(map(str, words)).encode(), hashlib.sha256).hexdigest()
