"""Parts that are opened from a home: ledger, hub, adapters, encoder, engine, outputs, routers over a snapshot.

Knows: which settings make which part. Does not know: stages.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

from catalog.tasks.task import CHAT, Task
from flows.home.adapter_files import AdapterFiles
from flows.home.home import Home
from lorauter.trained.task_adapters import read_task_key
from warehouse.ledger.ledger import Ledger
from warehouse.ledger.migrations import check_format
from warehouse.plans.plan import Conditions
from warehouse.storage.opening import open_storage
from warehouse.storage.storage import FolderStorage, Storage
from warehouse.tasks.folder import stored_tasks

if TYPE_CHECKING:
    from catalog.hub.client import Hub
    from flows.answer.policy import PolicyFolder
    from flows.fit.states import States
    from flows.home.settings import Settings
    from flows.outputs.outputs import Outputs
    from flows.score.embeddings import Embeddings
    from lorauter.bandit.state import PolarState
    from lorauter.compositions.task_adapters import TaskAdapters
    from lorauter.engine.engine import Engine
    from lorauter.routers import RouterParts
    from lorauter.routing.encoder import Encoder
    from lorauter.routing.routes import Router
    from lorauter.train.fit import FitParts
    from warehouse.snapshots.snapshot import Snapshot


@lru_cache(maxsize=8)
def storage_of(home: Home) -> Storage:
    """What all machines share: the setting's storage, or the home itself; opened once.

    Raises SnapshotError where a newer version wrote it.
    """
    where = home.settings.storage
    opened = open_storage(where, home.root / "cache") if where else FolderStorage(home.root)
    check_format(opened)
    return opened


def ledger_of(home: Home) -> Ledger:
    """Everything ever seen."""
    return Ledger(storage_of(home).sub("ledger"))


def plans_of(home: Home) -> Storage:
    """Plans, and the heartbeats of those who work on them."""
    return storage_of(home).sub("plans")


def states_of(home: Home) -> States:
    """Trained states: in what all machines share, and in the home's snapshots."""
    from flows.fit.states import States

    return States(storage_of(home).sub("trained"), home.snapshots)


@lru_cache(maxsize=8)
def hub_of(home: Home) -> Hub:
    """The hub of the settings, opened once: what it allows is remembered from stage to stage."""
    from catalog.hub.client import Hub, HubOptions

    settings = home.settings
    endpoint, cache = settings.endpoint.rstrip("/"), home.root / "hub"
    return Hub(HubOptions(endpoint, cache, settings.hub_token, page_size=settings.page_size, readers=settings.readers))


def adapter_folder(home: Home, key: str) -> Path:
    """Folder of an adapter's files: here, in a snapshot published with weights, or downloaded; or made of a trained
    state."""
    if read_task_key(key) is not None:
        return task_adapters_of(home).folder(key)
    return AdapterFiles(hub_of(home), home.snapshots).fetch(key)


@lru_cache(maxsize=8)
def task_adapters_of(home: Home) -> TaskAdapters:
    """Adapters that trained states make, one a task; made once, in the home."""
    from lorauter.compositions.task_adapters import TaskAdapters

    return TaskAdapters(states_of(home).read, home.root / "task_adapters")


def model_folder(home: Home, repo: str, sha: str) -> Path:
    """Folder of a base model's or encoder's files, downloaded if need be."""
    from catalog.hub.models import fetch_model

    return fetch_model(hub_of(home), repo, sha)


def snapshot_of(home: Home, which: str | Path | None = None) -> Snapshot:
    """A snapshot: the published one, or what `warehouse.snapshots.history.resolve` understands."""
    from warehouse.snapshots.history import resolve
    from warehouse.snapshots.snapshot import open_snapshot

    return open_snapshot(resolve(home.snapshots, which))


def open_encoder(home: Home, sha: str) -> Encoder:
    """The settings' sentence encoder at a commit, loaded, in float32: for vectors that are kept."""
    from lorauter.routing.encoder import Encoder

    settings = home.settings
    return Encoder(model_folder(home, settings.encoder, sha), prompt=settings.encoder_prompt, device=settings.device)


def conditions_on(home: Home, base: str, base_sha: str) -> Conditions:
    """What decides outputs here: base, dtype, engine version."""
    from lorauter.device import choose_device, choose_dtype
    from lorauter.engine.version import ENGINE_VERSION

    device = choose_device(home.settings.device)
    return Conditions(base, base_sha, choose_dtype(home.settings.dtype, device), ENGINE_VERSION)


def open_router(
    home: Home,
    snapshot: Snapshot,
    name: str,
    gone: Collection[str] = (),
    policy: PolarState | None = None,
) -> Router:
    """A router of the settings' base over a snapshot; encoder and base come when they are needed, from the home's hub.

    Args and errors: as `lorauter.loading.load`; the policy is the home's current one where left out.
    """
    from lorauter.bandit.state import with_arms
    from lorauter.loading import parts_without
    from lorauter.routers import ROUTERS

    ROUTERS.check(name)
    parts = router_parts(home, snapshot)
    if policy:
        parts = replace(parts, policy=lambda index: with_arms(policy, index.adapters))
    return ROUTERS[name](parts_without(parts, snapshot, gone))


def policies_of(home: Home) -> PolicyFolder:
    """What the router `polar` has learned in this home."""
    from flows.answer.policy import PolicyFolder

    return PolicyFolder(home.root / "polar", home.settings.polar, home.settings.capacity)


def router_parts(home: Home, snapshot: Snapshot) -> RouterParts:
    """What routers of the settings' base over a snapshot are built from; the base is loaded for those that ask it."""
    from lorauter.loading import open_parts

    parts = open_parts(
        snapshot,
        base=home.settings.base,
        options=home.settings.routing,
        encoder=lambda wanted: model_folder(home, wanted.id, wanted.sha),
        encoder_dtype=home.settings.encoder_dtype,
    )
    engine = partial(engine_here, home, parts.index.base, parts.index.base_sha)
    return replace(parts, engine=engine, policy=policies_of(home).current)


def fit_parts(home: Home, snapshot: Snapshot, base: str) -> FitParts:
    """What routers of a base over a snapshot are trained from; the filters of the settings take nothing away.

    Raises SettingError where a task is not as it was published.
    """
    from flows.fit.outcomes import outcomes_of
    from lorauter.adapters.weights import JUDGED, read_adapter
    from lorauter.device import choose_device
    from lorauter.loading import open_parts
    from lorauter.train.fit import FitParts
    from lorauter.train.found_states import catalog_of, published_tasks

    parts = open_parts(snapshot, base=base, encoder=lambda wanted: model_folder(home, wanted.id, wanted.sha))
    index, settings = parts.index, home.settings
    tasks = published_tasks(catalog_of(snapshot, index), tasks_on(home, index.base, index.base_sha))
    conditions = conditions_on(home, index.base, index.base_sha)
    return FitParts(
        index=index,
        tasks=tasks,
        inputs=parts.inputs,
        encoder=parts.encoder,
        pool=parts.pool,
        doras=parts.doras,
        read=lambda key: read_adapter(adapter_folder(home, key), JUDGED),
        engine=lambda: engine_here(home, index.base, index.base_sha),
        base_folder=lambda: model_folder(home, index.base, index.base_sha),
        outcomes=lambda: outcomes_of(ledger_of(home), tasks, parts.means(), conditions, settings.report),
        device=choose_device(settings.device),
    )


def open_outputs(home: Home, pinned: Collection[str] = ()) -> Outputs:
    """Answers from the home's ledger; shards of what it lacks run where the settings say.

    Args:
        pinned: adapters that the bank of this process keeps meanwhile; workers have banks of their own.
    """
    from flows.outputs.outputs import Outputs, choose_runner, run_shard
    from flows.outputs.workers import Workers

    make = partial(run_shard, ledger_of(home), plans_of(home), partial(_pinning_engine, home, pinned))
    workers = Workers(ledger_of(home), plans_of(home), home.worker_reference, home.settings.worker_silence)
    run = choose_runner(home.settings.scoring, make, workers, home.root)
    return Outputs(ledger_of(home), plans_of(home), home.settings.shard_rows, run)


def open_embeddings(home: Home) -> Embeddings:
    """Vectors of the settings' encoder, kept in the home. Neither hub nor encoder is asked before one is missing."""
    from flows.score.embeddings import Embeddings

    settings = home.settings
    return Embeddings(
        home.root / "embeddings",
        settings.encoder,
        settings.encoder_prompt,
        lambda: hub_of(home).repo_files(settings.encoder, settings.encoder_revision)[0],
        partial(open_encoder, home),
    )


def tasks_on(home: Home, base: str, base_sha: str) -> list[Task]:
    """All tasks as a base is asked them: the template `chat` is the base's own. Raises as `Home.tasks`."""
    tasks = stored_tasks(home.task_folder)
    if all(task.template != CHAT for task in tasks):
        return tasks
    from lorauter.formats.base_chat import base_chat_format

    own = base_chat_format(model_folder(home, base, base_sha), base).template()
    return [replace(task, template=own) if task.template == CHAT else task for task in tasks]


def engine_here(home: Home, base: str, base_sha: str) -> Engine:
    """The engine that this process answers with: whoever else needs the base loads it no second time."""
    return loaded_engine(home, base, base_sha, conditions_on(home, base, base_sha).dtype)


def _pinning_engine(home: Home, pinned: Collection[str], base: str, base_sha: str, dtype: str) -> Engine:
    engine = loaded_engine(home, base, base_sha, dtype)
    engine.bank.pin(pinned)
    return engine


def loaded_engine(home: Home, base: str, base_sha: str, dtype: str) -> Engine:
    """The engine of these settings; it stays loaded from shard to shard, and goes before another one comes."""
    wanted = (home.settings, base, base_sha, dtype)
    if not _loaded or _loaded[0][0] != wanted:
        _loaded.clear()
        _loaded.append((wanted, open_engine(home, base, base_sha, dtype)))
    return _loaded[0][1]


def open_engine(home: Home, base: str, base_sha: str, dtype: str | None = None) -> Engine:
    """The engine on a base, loaded anew; in the settings' dtype unless told."""
    from lorauter.adapters.weights import JUDGED
    from lorauter.engine.engine import Engine

    settings = home.settings
    return Engine(
        model_folder(home, base, base_sha),
        device=settings.device,
        dtype=dtype or settings.dtype,
        capacity=settings.capacity,
        find_adapter=partial(adapter_folder, home),
        passing=JUDGED,
        read_state=states_of(home).read,
    )


_loaded: list[tuple[tuple[Settings, str, str, str], Engine]] = []
