"""A published home and the hub that it reads, for batches of answers."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from flows.home.home import Home, open_home
from flows.mirror.server import serve_in_thread
from tests.flows.answer.batches import BASE


@pytest.fixture(scope="module")
def hub_folder(tmp_path_factory: pytest.TempPathFactory, tiny_hub_folder: Path) -> Path:
    folder = tmp_path_factory.mktemp("own") / "hub"
    shutil.copytree(tiny_hub_folder, folder)
    return folder


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory, hub_folder: Path, refreshed: Path) -> Iterator[Home]:
    """A home with a published snapshot."""
    root = shutil.copytree(refreshed, tmp_path_factory.mktemp("published") / "home", symlinks=True)
    with serve_in_thread(hub_folder) as hub:
        yield open_home(home=root, endpoint=hub.endpoint, base=BASE, answer_rows=4)
