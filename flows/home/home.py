"""The home folder: where everything of one installation lies.

    home/hub/          downloads, laid out as huggingface_hub does
    home/ledger/       everything ever seen (warehouse/ledger)
    home/format.json   which layout the ledger has (warehouse/ledger/migrations)
    home/plans/        shards of work begun (warehouse/plans), heartbeats of those who work on them
    home/tasks/        the tasks (warehouse/tasks)
    home/snapshots/    published catalogs (warehouse/snapshots)
    home/polar/        what the router `polar` has learned (flows/answer/policy)
    home/cache/        copies from the shared storage; may be deleted at any time

Where machines share a storage, `ledger`, `format.json` and `plans` lie there, and every machine has a home of its own
for the rest.

Knows: the layout, and what a run is about. Opens nothing (flows/home/parts). Does not know: stages.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from catalog.errors import DiskError
from catalog.hub.target import Target
from catalog.wanted import Wanted
from flows.home.settings import Settings, load_settings
from warehouse.storage.url import is_url


def open_home(**overrides: Any) -> Home:
    """The home of the settings, `overrides` on top, its folder made."""
    home = Home(load_settings(**overrides))
    home.ensure()
    return home


@dataclass(frozen=True, eq=False)
class Home:
    """One installation: its settings and its folders. What is opened for one home stays open for that one."""

    settings: Settings

    @property
    def root(self) -> Path:
        """The home folder itself."""
        return self.settings.home

    @property
    def snapshots(self) -> Path:
        """Folder of snapshots."""
        return self.root / "snapshots"

    @property
    def task_folder(self) -> Path:
        """Folder of tasks."""
        return self.root / "tasks"

    @property
    def reference(self) -> dict[str, Any]:
        """What another process of this machine needs to open this home: no secret in it, small enough for Prefect."""
        return self.settings.told()

    @property
    def worker_reference(self) -> dict[str, Any]:
        """What a worker needs, maybe on another machine: it shares the storage, and the home only if that holds it."""
        shared = self.settings.storage
        apart = shared and (is_url(shared) or not Path(shared).is_relative_to(self.root))
        return {name: value for name, value in self.reference.items() if not (apart and name == "home")}

    @property
    def wanted(self) -> Wanted:
        """The bases of the settings, each once, and what else they want crawled."""
        settings = self.settings
        bases = tuple(dict.fromkeys((settings.base, *settings.bases)))
        targets = tuple(map(Target.parse, settings.targets))
        return Wanted(bases, targets, settings.aliases, settings.base_revision)

    def ensure(self) -> None:
        """Make the home folder. Raises DiskError where that is not possible."""
        try:
            self.root.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DiskError(
                f"{self.root} cannot be made ({error.strerror}).", "Set LORAUTER_HOME elsewhere."
            ) from error
