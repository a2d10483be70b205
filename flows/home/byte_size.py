"""Numbers of bytes as people write them: 50MB, 1.5GiB. Knows pydantic's units; does not know what is so large."""

from __future__ import annotations

import re
from typing import Any

from pydantic import ByteSize, TypeAdapter, ValidationError

_WHOLE = re.compile(r"\s*\d*\.?\d+\s*[A-Za-z]*\s*")  # pydantic alone takes the 1 of "1,5GiB"


def bytes_of(written: Any) -> Any:
    """Text as a number of bytes, MB being 10^6 and MiB 2^20; whatever is no text as it is. Raises ValueError."""
    if not isinstance(written, str):
        return written
    try:
        if not _WHOLE.fullmatch(written):
            raise ValueError("no size")
        return int(TypeAdapter(ByteSize).validate_python(written))
    except (ValidationError, ValueError):
        raise ValueError(f"{written!r} is no size: write bytes, 50MB or 1.5GiB") from None
