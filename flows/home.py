"""The home folder: where everything of one installation lies, and the parts that work on it.

    home/hub/          downloads, laid out as huggingface_hub does
    home/ledger/       everything ever seen (warehouse/ledger)
    home/format.json   which layout the ledger has (warehouse/migrations)
    home/plans/        shards of work begun (warehouse/plans), heartbeats of those who work on them
    home/tasks/        the tasks (warehouse/tasks)
    home/snapshots/    published catalogs (warehouse/snapshots)
    home/cache/        copies from the shared storage; may be deleted at any time

Where machines share a storage, `ledger`, `format.json` and `plans` lie there, and every machine has a home of its own
for the rest.

Knows: the layout, how settings become the floors' options. Does not know: stages.
"""

from __future__ import annotations

import glob
from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from catalog.adapter import AdapterId
from catalog.base_names import listed_names
from catalog.errors import DiskError, TaskError
from catalog.facts import CONFIG_NAME, WEIGHTS_NAME
from catalog.target import Target
from catalog.task import Task
from flows.settings import Settings, load_settings
from warehouse.ledger import Ledger
from warehouse.manifest import weights_folder
from warehouse.migrations import check_format
from warehouse.plans import Conditions
from warehouse.storage import FolderStorage, Storage, open_storage
from warehouse.storage_url import is_url
from warehouse.tasks import read_tasks

if TYPE_CHECKING:
    from catalog.hub import Hub
    from lorauter.encoder import Encoder
    from lorauter.engine import Engine
    from lorauter.routing import Router
    from warehouse.snapshots import Snapshot


def open_home(**overrides: Any) -> Home:
    """The home of the settings, `overrides` on top, its folder made."""
    home = Home(load_settings(**overrides))
    home.ensure()
    return home


def open_router(
    home: Home,
    snapshot: Snapshot,
    name: str,
    gone: Collection[str] = (),
) -> Router:
    """A router of the settings' base over a snapshot; encoder and base come when they are needed, from the home's hub.

    Args: as `lorauter.loading.load`.
    """
    from flows.generate import engine_here
    from lorauter.loading import load
    from lorauter.task_index import load_index

    def engine() -> Engine:
        index = load_index(snapshot, home.settings.base)
        return engine_here(home, index.base, index.base_sha)

    return load(
        snapshot.folder,
        base=home.settings.base,
        router=name,
        options=home.settings.routing,
        encoder=lambda wanted: home.fetch_model(wanted.id, wanted.sha),
        gone=gone,
        engine=engine,
        encoder_dtype=home.settings.encoder_dtype,
    )


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
        from catalog.hub import Hub, HubOptions

        settings = self.settings
        endpoint, cache = settings.endpoint.rstrip("/"), self.root / "hub"
        page_size, readers = settings.page_size, settings.readers
        return Hub(HubOptions(endpoint, cache, settings.hub_token, page_size=page_size, readers=readers))

    def bases(self) -> tuple[str, ...]:
        """The bases of the settings, each once."""
        return tuple(dict.fromkeys((self.settings.base, *self.settings.bases)))

    def targets(self) -> list[Target]:
        """What the settings want crawled: every name of every base, then the other targets."""
        names = [name for base in self.bases() for name in listed_names(base, self.settings.aliases)]
        listed = [Target("base", name) for name in dict.fromkeys(names)]
        return [*listed, *dict.fromkeys(Target.parse(text) for text in self.settings.targets)]

    def ensure(self) -> None:
        """Make the home folder. Raises DiskError where that is not possible."""
        try:
            self.root.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DiskError(
                f"{self.root} cannot be made ({error.strerror}).", "Set LORAUTER_HOME elsewhere."
            ) from error

    def snapshot(self, which: str | Path | None = None) -> Snapshot:
        """A snapshot: the published one, or what `warehouse.history.resolve` understands."""
        from warehouse.history import resolve
        from warehouse.snapshots import open_snapshot

        return open_snapshot(resolve(self.snapshots, which))

    def tasks(self) -> list[Task]:
        """All tasks, by name. Raises TaskError where there are none."""
        if not any(self.task_folder.glob("*/task.json")):
            raise TaskError("There are no tasks yet.", "Add some: lorauter tasks add FOLDER_OR_FILE.")
        return read_tasks(self.task_folder)

    def fetch_adapter(self, key: str) -> Path:
        """Folder of an adapter's files: here, in a snapshot published with weights, or downloaded."""
        adapter = AdapterId.parse(key)
        folder = self.hub.local(adapter.repo, adapter.sha, adapter.path)
        names = [f"{adapter.path}/{n}" if adapter.path else n for n in (CONFIG_NAME, WEIGHTS_NAME)]
        if all((folder / Path(name).name).exists() for name in names):
            return folder
        published = next(self.snapshots.glob(f"*/{glob.escape(weights_folder(key))}"), None)
        if published is None:
            self.hub.download(adapter.repo, names, adapter.sha)
        return published or folder

    def fetch_model(self, repo: str, sha: str) -> Path:
        """Folder of a base model's or encoder's files, downloaded if need be."""
        from catalog.models import fetch_model

        return fetch_model(self.hub, repo, sha)

    def encoder(self, sha: str) -> Encoder:
        """The settings' sentence encoder at a commit, loaded, in float32: for vectors that are kept."""
        from lorauter.encoder import Encoder

        settings = self.settings
        folder = self.fetch_model(settings.encoder, sha)
        return Encoder(folder, prompt=settings.encoder_prompt, device=settings.device)

    def conditions(self, base: str, base_sha: str) -> Conditions:
        """What decides outputs here: base, dtype, engine version."""
        from lorauter.device import choose_device, choose_dtype
        from lorauter.engine_version import ENGINE_VERSION

        device = choose_device(self.settings.device)
        return Conditions(base, base_sha, choose_dtype(self.settings.dtype, device), ENGINE_VERSION)

    def engine(self, base: str, base_sha: str) -> Engine:
        """The engine on a base, loaded."""
        from lorauter.adapter_weights import JUDGED
        from lorauter.engine import Engine

        settings = self.settings
        return Engine(
            self.fetch_model(base, base_sha),
            device=settings.device,
            dtype=settings.dtype,
            capacity=settings.capacity,
            find_adapter=self.fetch_adapter,
            passing=JUDGED,
        )
