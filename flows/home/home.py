"""The home folder: where everything of one installation lies, and the parts that work on it.

    home/hub/          downloads, laid out as huggingface_hub does
    home/ledger/       everything ever seen (warehouse/ledger)
    home/format.json   which layout the ledger has (warehouse/ledger/migrations)
    home/plans/        shards of work begun (warehouse/plans), heartbeats of those who work on them
    home/tasks/        the tasks (warehouse/tasks)
    home/snapshots/    published catalogs (warehouse/snapshots)
    home/cache/        copies from the shared storage; may be deleted at any time

Where machines share a storage, `ledger`, `format.json` and `plans` lie there, and every machine has a home of its own
for the rest.

Knows: the layout, how settings become the floors' options. Does not know: stages.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from catalog.errors import DiskError
from catalog.hub.target import Target
from catalog.tasks.task import Task
from catalog.wanted import Wanted
from flows.home.adapter_files import AdapterFiles
from flows.home.settings import Settings, load_settings
from warehouse.ledger.ledger import Ledger
from warehouse.ledger.migrations import check_format
from warehouse.plans.plan import Conditions
from warehouse.storage.opening import open_storage
from warehouse.storage.storage import FolderStorage, Storage
from warehouse.storage.url import is_url
from warehouse.tasks.folder import stored_tasks

if TYPE_CHECKING:
    from catalog.hub.client import Hub
    from lorauter.engine.engine import Engine
    from lorauter.routing.encoder import Encoder
    from warehouse.snapshots.snapshot import Snapshot


def open_home(**overrides: Any) -> Home:
    """The home of the settings, `overrides` on top, its folder made."""
    home = Home(load_settings(**overrides))
    home.ensure()
    return home


@dataclass(frozen=True)
class Home:
    """One installation: its settings, its folders and the parts that work on them."""

    settings: Settings

    @property
    def root(self) -> Path:
        """The home folder itself."""
        return self.settings.home

    @property
    def ledger(self) -> Ledger:
        """Everything ever seen."""
        return Ledger(self.storage.sub("ledger"))

    @property
    def plans(self) -> Storage:
        """Plans, and the heartbeats of those who work on them."""
        return self.storage.sub("plans")

    @cached_property
    def storage(self) -> Storage:
        """What all machines share: the setting's storage, or the home itself.

        Raises SnapshotError where a newer version wrote it.
        """
        where = self.settings.storage
        opened = open_storage(where, self.root / "cache") if where else FolderStorage(self.root)
        check_format(opened)
        return opened

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

    @cached_property
    def hub(self) -> Hub:
        """The hub of the settings."""
        from catalog.hub.client import Hub, HubOptions

        settings = self.settings
        endpoint, cache = settings.endpoint.rstrip("/"), self.root / "hub"
        page_size, readers = settings.page_size, settings.readers
        return Hub(HubOptions(endpoint, cache, settings.hub_token, page_size=page_size, readers=readers))

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

    def snapshot(self, which: str | Path | None = None) -> Snapshot:
        """A snapshot: the published one, or what `warehouse.snapshots.history.resolve` understands."""
        from warehouse.snapshots.history import resolve
        from warehouse.snapshots.snapshot import open_snapshot

        return open_snapshot(resolve(self.snapshots, which))

    def tasks(self) -> list[Task]:
        """All tasks, by name. Raises TaskError where there are none."""
        return stored_tasks(self.task_folder)

    def fetch_adapter(self, key: str) -> Path:
        """Folder of an adapter's files: here, in a snapshot published with weights, or downloaded."""
        return AdapterFiles(self.hub, self.snapshots).fetch(key)

    def fetch_model(self, repo: str, sha: str) -> Path:
        """Folder of a base model's or encoder's files, downloaded if need be."""
        from catalog.hub.models import fetch_model

        return fetch_model(self.hub, repo, sha)

    def encoder(self, sha: str) -> Encoder:
        """The settings' sentence encoder at a commit, loaded, in float32: for vectors that are kept."""
        from lorauter.routing.encoder import Encoder

        settings = self.settings
        folder = self.fetch_model(settings.encoder, sha)
        return Encoder(folder, prompt=settings.encoder_prompt, device=settings.device)

    def conditions(self, base: str, base_sha: str) -> Conditions:
        """What decides outputs here: base, dtype, engine version."""
        from lorauter.device import choose_device, choose_dtype
        from lorauter.engine.version import ENGINE_VERSION

        device = choose_device(self.settings.device)
        return Conditions(base, base_sha, choose_dtype(self.settings.dtype, device), ENGINE_VERSION)

    def engine(self, base: str, base_sha: str, dtype: str | None = None) -> Engine:
        """The engine on a base, loaded; in the settings' dtype unless told."""
        from lorauter.adapters.weights import JUDGED
        from lorauter.engine.engine import Engine

        settings = self.settings
        return Engine(
            self.fetch_model(base, base_sha),
            device=settings.device,
            dtype=dtype or settings.dtype,
            capacity=settings.capacity,
            find_adapter=self.fetch_adapter,
            passing=JUDGED,
        )
