"""A shelf: what the routes ask of whoever has the repos, be it a folder or arithmetic.

Knows: the questions. Does not know: where bytes lie, HTTP, who asks.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from flows.mirror.content import Content
from flows.mirror.disk import HubFile
from flows.mirror.repo import Repo


class Row(Protocol):
    """What a listing must know of a repo to filter and sort it: cheap where a whole `Repo` is not."""

    @property
    def id(self) -> str: ...
    @property
    def first_id(self) -> str: ...
    @property
    def namespace(self) -> str: ...
    @property
    def tags(self) -> tuple[str, ...]: ...
    @property
    def pipeline(self) -> str | None: ...
    @property
    def gated(self) -> object: ...
    @property
    def private(self) -> bool: ...
    @property
    def downloads(self) -> int: ...
    @property
    def likes(self) -> int: ...
    @property
    def modified_ms(self) -> int: ...
    @property
    def created_ms(self) -> int: ...


class Shelf(Protocol):
    """All repos that a mirror serves."""

    def rows(self) -> tuple[int, Sequence[Row]]:
        """Every repo, and an edition: while that number stays, so do the rows."""

    def whole(self, row: Row) -> Repo | None:
        """The repo behind a row; None when it has gone since."""

    def repo(self, repo_id: str) -> Repo | None:
        """The repo at its newest commit, or None when there is none of this name."""

    def older(self, repo: Repo, sha: str) -> Repo | None:
        """The repo at an earlier commit, where the shelf keeps those."""

    def renamed(self, repo_id: str) -> str | None:
        """What a repo is called now that once had this name."""

    def content(self, repo: Repo, file: HubFile) -> Path | Content:
        """The bytes of a repo's file: a path, or something that reads pieces."""
