"""Targets: what a crawl asks a hub for.

Knows: the kinds, and how one is written. Does not know: how it is asked (catalog/hub) or which bases have twins
(catalog/bases/names).
"""

from __future__ import annotations

from dataclasses import dataclass

from catalog.errors import SettingError

KINDS = {
    "base": "adapters that name a base model",
    "author": "adapters of a user or an organisation",
    "tag": "adapters with a tag",
    "repo": "one repo",
}


@dataclass(frozen=True, slots=True, order=True)
class Target:
    """One question to a hub: its kind and the name asked for. Adapters of a base are judged for that base,
    all others for the base that they name themselves.
    """

    kind: str
    name: str

    @property
    def key(self) -> str:
        """`kind:name`, as settings and the ledger write it."""
        return f"{self.kind}:{self.name}"

    @classmethod
    def parse(cls, text: str) -> Target:
        """The inverse of `key`. Raises SettingError for an unknown kind or an empty name."""
        kind, _, name = (part.strip() for part in text.partition(":"))
        if kind not in KINDS or not name or len(name) > 200 or not name.isprintable():
            raise SettingError(
                f"{text[:100]!r} is no target of a crawl.", f"Write it as KIND:NAME, KIND one of {', '.join(KINDS)}."
            )
        return cls(kind, name)
