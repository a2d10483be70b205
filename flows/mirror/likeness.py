"""Likeness: in what the mirror is like the real Hub where a simpler server would be kinder, and how to switch it off.

Knows: names and defaults of the switches. Does not know: how each one is done (compression, xet, app, accounts).
The defaults are what the service was recorded to answer. What goes wrong only sometimes is a fault (see faults).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

BadToken = Literal["credentials", "password"]


@dataclass(frozen=True, slots=True)
class Likeness:
    """The recorded behaviours; each a switch for tests.

    Args:
        gzip: text and JSON of 1,000 bytes or more come packed, chunked and without a length to whoever accepts gzip;
            a range is ignored then.
        resolve_cache: `resolve` of a text file is a relative 307 to /api/resolve-cache/.
        xet: large files tell of Xet, with a token route and a storage behind it; their host's ETag is the Xet hash.
        cas_url: where the token route says that storage is; empty: here. Nobody answers at a free port.
        public_name: scheme and host that `Link: rel="next"` names in place of ours, as "https://hub.example".
        bad_token: which sentence a token gets that was never known.
        hides_disabled: to an anonymous caller a disabled repo is a missing one; else it has a page and no files.
        nulls: an expanded field without a value is null; the Hub was seen to leave them out.
    """

    gzip: bool = True
    resolve_cache: bool = True
    xet: bool = True
    cas_url: str = ""
    public_name: str = ""
    bad_token: BadToken = "credentials"  # noqa: S105  (a word)
    hides_disabled: bool = False
    nulls: bool = False


KIND = Likeness(gzip=False, resolve_cache=False, xet=False)
"""A plain server of files: what the mirror was before it was held against recordings."""
