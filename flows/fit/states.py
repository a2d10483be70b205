"""Trained states where they are kept: in a folder that machines share, and in the snapshots beside it.

Knows: their files, how one is found by its hash or by what it stands on. Does not know: how they are trained.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from catalog.errors import SettingError, SnapshotError
from flows.screen.progress import say
from lorauter.trained.grounds import Grounds, differences
from lorauter.trained.state import Facts, TrainedState, read_facts
from warehouse.snapshots.manifest import TRAINED
from warehouse.storage.storage import Storage

WEIGHTS, FACTS = ENDINGS = (".safetensors", ".json")
TOOK = ".took"
"""Ending of the file that says what training took; it travels with no snapshot."""


@dataclass(frozen=True, slots=True)
class States:
    """The trained states that this machine can get at.

    Args:
        store: where they are kept.
        snapshots: folder of snapshots, each of which may hold some.
    """

    store: Storage
    snapshots: Path

    def keep(self, state: TrainedState) -> str:
        """Store a state. Returns the name of its files, without an ending."""
        name = state.file_name
        with TemporaryDirectory() as folder:
            state.save(Path(folder), name)
            for ending in ENDINGS:  # the JSON last: without it there is no state
                self.store.put(f"{name}{ending}", _copier(Path(folder) / f"{name}{ending}"))
        self.store.put(f"{name}{TOOK}", lambda part: _write(part, json.dumps(dict(state.took))))
        return name

    def read(self, sha: str) -> TrainedState:
        """The state of a hash. Raises SettingError where it is nowhere here, SnapshotError where it is damaged."""
        for names, folder in self._places():
            for name in names:
                if name.endswith(f"-{sha[:32]}.json"):
                    return TrainedState.read(folder(name).parent, name.removesuffix(".json"), sha)
        raise SettingError(
            f"The trained state {sha[:16]} is neither in {self.store.address('')} nor in a snapshot here.",
            "Share that folder by LORAUTER_STORAGE, or copy the snapshot that holds it to this machine.",
        )

    def known(self, grounds: Grounds, seed: int, first: Collection[str] = ()) -> str | None:
        """The name of a whole stored state that stands on these grounds and was drawn with this seed.

        Args:
            grounds: see `lorauter.trained.grounds.Grounds`.
            seed: of its draws.
            first: names that come before others, as those that are published; then the first by name.
        """
        for name in sorted(self.store.names(), key=lambda name: (name.removesuffix(FACTS) not in first, name)):
            if not (name.startswith(f"{grounds.router}-") and name.endswith(FACTS)):
                continue
            facts = self._facts(self.store.local(name))
            belongs = facts is not None and facts.get("seed") == seed and not differences(facts, grounds)
            if belongs and self._whole(name.removesuffix(FACTS)):
                return name.removesuffix(FACTS)
        return None

    def files(self, name: str) -> dict[str, Path]:
        """A stored state's files, as a snapshot takes them."""
        return {f"{name}{ending}": self.store.local(f"{name}{ending}") for ending in ENDINGS}

    def took(self, name: str) -> Facts:
        """What its training took, as far as it is known."""
        try:
            return read_facts(self.store.local(f"{name}{TOOK}"))
        except (FileNotFoundError, SnapshotError):
            return {}

    def _facts(self, path: Path) -> Facts | None:
        """What a file says; None, and a word to the person, where it is damaged."""
        try:
            return read_facts(path)
        except SnapshotError as error:
            say(str(error))
            return None

    def _whole(self, name: str) -> bool:
        """Whether a stored state is what its name says; a word to the person where it is not."""
        try:
            files = self.files(name)
            whole = TrainedState.read(files[f"{name}{FACTS}"].parent, name).file_name == name
        except (SnapshotError, FileNotFoundError) as error:
            say(str(error))
            return False
        if not whole:
            say(f"The trained state {self.store.address(name)} is not what its name says, and is not used.")
        return whole

    def _places(self) -> Iterator[tuple[set[str], Callable[[str], Path]]]:
        """Names of files, and what makes a name the file on this machine with all that lies beside it."""
        yield self.store.names(), self._fetched
        for folder in sorted(self.snapshots.glob(f"*/{TRAINED}")):
            yield {path.name for path in folder.glob("*.json")}, folder.joinpath

    def _fetched(self, name: str) -> Path:
        for path in self.files(name.removesuffix(".json")).values():
            last = path
        return last


def _copier(source: Path) -> Callable[[Path], None]:
    def copy(part: Path) -> None:
        shutil.copyfile(source, part)

    return copy


def _write(part: Path, text: str) -> None:
    part.write_text(text, encoding="utf-8")
