"""A repo of the mirror: its files, its commit, and what its sidecar says.

Knows: what routes and listings ask of one repo. Does not know: where it was read or made.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Literal

from pydantic import BaseModel, ConfigDict

from flows.mirror.card import Facts
from flows.mirror.disk import HubFile


class Sidecar(BaseModel):
    """What `.hub.json` in a repo's folder says that no file could: all of it optional.

    `disabled` (403), `legal` (451) and `gone` (410) close the repo to everyone; listings still show it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    lastModified: datetime | None = None
    downloads: int = 0
    likes: int = 0
    private: bool = False
    gated: bool | Literal["auto", "manual"] = False
    tags: tuple[str, ...] | None = None
    disabled: bool = False
    legal: bool = False
    gone: bool = False
    formerly: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Repo:
    """One repo at its only commit."""

    id: str
    files: tuple[HubFile, ...]
    sha: str
    facts: Facts
    sidecar: Sidecar
    created: datetime
    modified: datetime

    @property
    def namespace(self) -> str:
        return self.id.partition("/")[0]

    @property
    def first_id(self) -> str:
        """The name it was created under: a rename keeps the Hub's inner id."""
        return self.sidecar.formerly[0] if self.sidecar.formerly else self.id

    @property
    def private(self) -> bool:
        return self.sidecar.private

    @property
    def pipeline(self) -> str | None:
        return self.facts.pipeline

    @property
    def downloads(self) -> int:
        return self.sidecar.downloads

    @property
    def likes(self) -> int:
        return self.sidecar.likes

    @property
    def modified_ms(self) -> int:
        return int(self.modified.timestamp() * 1000)

    @property
    def created_ms(self) -> int:
        return int(self.created.timestamp() * 1000)

    @property
    def gated(self) -> Literal["auto", "manual", False]:
        return "manual" if self.sidecar.gated is True else self.sidecar.gated

    @property
    def tags(self) -> tuple[str, ...]:
        return self.facts.tags if self.sidecar.tags is None else self.sidecar.tags

    def file(self, name: str) -> HubFile | None:
        """A file by its exact name: what the walk did not see is not there, whatever it resolves to."""
        return None if "\\" in name else next((file for file in self.files if file.name == name), None)

    def has_revision(self, revision: str) -> bool:
        return revision in ("main", "HEAD", "refs/heads/main", self.sha)


@lru_cache(1 << 17)
def inner_id(first_id: str) -> str:
    """The Hub's own id of a repo: a rename keeps it, and it breaks ties in a listing."""
    return hashlib.sha1(first_id.encode(), usedforsecurity=False).hexdigest()[:24]
