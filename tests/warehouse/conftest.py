"""A folder whose process is killed at a step."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from warehouse.storage.storage import FolderStorage


class Mortal(FolderStorage):
    """A folder whose process is killed before a step that changes something, or in the middle of one."""

    class Killed(Exception):
        """The process ended here."""

    def __init__(self, folder: Path, steps: list[int]) -> None:
        super().__init__(folder)
        self._steps = steps  # [how many are left], shared by its subfolders

    def sub(self, name: str) -> Mortal:
        return Mortal(self.folder / name, self._steps)

    def put(self, name: str, write: Callable[[Path], None]) -> None:
        self._step()
        super().put(name, write)
        self._step()

    def delete(self, name: str) -> None:
        self._step()
        super().delete(name)

    def _step(self) -> None:
        self._steps[0] -= 1
        if self._steps[0] < 0:
            raise self.Killed


@pytest.fixture(scope="session")
def mortal() -> type[Mortal]:
    """A storage that dies: folder, and in a list how many steps it lives."""
    return Mortal
