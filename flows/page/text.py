"""Text of strangers, made fit to be shown: no control, format or bidirectional character, no endless string.

Knows: characters. Does not know: HTML; the template escapes, and the page's script makes text nodes only.
"""

from __future__ import annotations

import json
from typing import Any

from flows.screen.screen import printable

MOST = 400
_ESCAPES = {ord(c): f"\\u{ord(c):04x}" for c in "<>&\u2028\u2029"}


def shown(value: str | None, most: int = MOST) -> str:
    """The text without what moves or hides characters, at most `most` of them."""
    if not value:
        return ""
    return printable(value if len(value) <= most else value[: most - 1] + "…")


def script_json(value: Any) -> str:
    """JSON that is safe between script tags: it holds no `<`, `>` or `&`, and no line end that JavaScript ends at."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).translate(_ESCAPES)
