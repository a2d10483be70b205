"""The LFS origin: signed addresses for large files, as the Hub's redirects carry.

Knows: signing an address and checking it. Does not know: who may see a repo; an address is its own permit.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections.abc import Callable
from urllib.parse import quote, urlencode

LIFETIME_S = 3600
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
        return f"/lfs/{quote(repo_id)}/{sha256}?{urlencode(query)}"

    def holds(self, repo_id: str, sha256: str, name: str, commit: str, expires: str, signature: str) -> bool:
        if not (expires.isascii() and expires.isdigit() and len(expires) < 12):
            return False
        good = self._sign(repo_id, sha256, name, commit, int(expires))
        return hmac.compare_digest(good.encode(), signature.encode()) and int(expires) >= self._clock()

    def _sign(self, repo_id: str, sha256: str, name: str, commit: str, expires: int) -> str:
        words = "\0".join((repo_id, sha256, name, commit, str(expires)))
        return hmac.new(self._key, words.encode(), hashlib.sha256).hexdigest()
