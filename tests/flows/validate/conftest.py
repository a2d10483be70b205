"""A hub of one's own to change, and its mirror."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from flows.mirror.server import HubServer, serve_in_thread


@pytest.fixture
def folder(tmp_path: Path, tiny_hub_folder: Path) -> Path:
    """A hub of one's own to change: the tiny one without its encoder."""
    root = tmp_path / "hub"
    shutil.copytree(tiny_hub_folder, root, ignore=shutil.ignore_patterns("sentence-transformers"))
    return root


@pytest.fixture
def hub(folder: Path, no_wait: None) -> Iterator[HubServer]:
    with serve_in_thread(folder) as server:
        yield server
