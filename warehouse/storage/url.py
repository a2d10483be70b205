"""Where shared storage lies: a folder or a URL, as the setting names it.

Knows: which URLs may be told to others. Does not know: how anything is read or written there.
The URL goes through Prefect's database to every worker and into logs, so it must hold no secret.
"""

from __future__ import annotations

from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from catalog.errors import SettingError

_OPEN = {"region", "scheme", "endpoint_override"}  # what may stand behind a `?`; keys and signatures may not
_CREDENTIALS = (
    "Leave them out and give each machine its own: for S3 AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a role."
)


def is_url(where: str) -> bool:
    """Whether it is a URL, not a folder."""
    return "://" in where


def checked_storage(where: str) -> str:
    """The setting as it is used: a URL without its last slash, a folder as an absolute path, "" as it is.

    Raises SettingError, which repeats nothing of the URL that may be secret.
    """
    if not where:
        return ""
    if not is_url(where):
        return str(Path(where).expanduser().absolute())
    parts = urlsplit(where)
    if parts.scheme == "file":
        return str(Path(parts.path).absolute())
    if "@" in where or parts.fragment or set(parse_qs(parts.query, keep_blank_values=True)) - _OPEN:
        raise SettingError(
            f"The storage URL ({parts.scheme}://…) holds credentials: they would be stored with every run and logged.",
            _CREDENTIALS,
        )
    if not parts.netloc:
        raise SettingError(f"The storage URL {where} names no bucket.", "Write it as s3://bucket/prefix.")
    return parts._replace(path=parts.path.rstrip("/")).geturl()
