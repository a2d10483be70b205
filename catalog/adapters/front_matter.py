"""Front matter: the YAML at the head of a repo's README, as plain values.

Knows: where it begins and ends, bounds on depth and aliases. Does not know: what its fields mean, where the text came
from. It is hostile.
"""

from __future__ import annotations

import re
from typing import Any

import yaml  # type: ignore[import-untyped,unused-ignore]

_DEPTH = 12


class _NoAliases(yaml.SafeLoader):  # type: ignore[misc,unused-ignore]
    """A safe loader without aliases: a few hundred bytes of them expand to gigabytes of JSON."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("aliases are not read")
        return super().compose_node(parent, index)


def front_matter(text: str) -> dict[str, Any]:
    """The front matter of a README, or nothing when it is missing, broken or not a mapping."""
    found = re.match(r"\ufeff?---[ \t]*\r?\n(.*?)\r?\n---[ \t]*(?:\r?\n|\Z)", text, re.DOTALL)
    if found is None:
        return {}
    try:
        card = yaml.load(found.group(1), Loader=_NoAliases)  # noqa: S506  (a SafeLoader)
    except (yaml.YAMLError, RecursionError, ValueError):
        return {}
    return as_json(card) if isinstance(card, dict) else {}


def as_json(value: Any, depth: int = _DEPTH) -> Any:
    """The value as JSON can hold it: YAML has dates, NaN and keys of any type."""
    if depth == 0:
        return None
    if isinstance(value, dict):
        return {str(key): as_json(item, depth - 1) for key, item in value.items()}
    if isinstance(value, list):
        return [as_json(item, depth - 1) for item in value]
    return value if value is None or isinstance(value, (bool, int, str)) else str(value)
