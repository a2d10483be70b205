"""Names from a hub that are safe to join to a folder, to ask for, and to show.

Knows: what a path or a repo id may look like. Does not know: what a name stands for (catalog/bases/names).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

_REPO_ID = re.compile(r"\w([\w.-]{0,94}\w)?/\w([\w.-]{0,94}\w)?", re.ASCII)
_HIDDEN = ("C", "Zl", "Zp")  # Unicode categories that break or hide a line


def is_safe_path(name: str) -> bool:
    """Whether a file name from a hub can be joined to a local folder and shown to a person."""
    parts = name.split("/")
    return (
        0 < len(name) <= 512
        and not name.startswith(("/", "~"))
        and all(part not in ("", ".", "..") and len(part.encode("utf-8", "replace")) <= 255 for part in parts)
        and not any(c in '\\%<>:"|?*' or unicodedata.category(c).startswith(_HIDDEN) for c in name)
    )


def is_repo_id(name: str) -> bool:
    """Whether a name is an `org/name` that the hub's own client would ask for; cache folders rely on it."""
    return bool(_REPO_ID.fullmatch(name)) and not name.endswith(".git") and not re.search(r"--|\.\.", name)


def colliding(names: Iterable[str]) -> tuple[str, str] | None:
    """Two names that are one file on a disk that ignores case or normalises Unicode, or None."""
    seen: dict[str, str] = {}
    for name in names:
        if seen.setdefault(folded(name), name) != name:
            return seen[folded(name)], name
    return None


def folded(name: str) -> str:
    """The name as a disk that ignores case and normalises Unicode compares it."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
