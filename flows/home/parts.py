"""Parts that are opened from a home: outputs, embeddings, the engine that this process holds, routers over a snapshot.

Knows: which settings make which part. Does not know: stages.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from catalog.tasks.task import CHAT, Task
from flows.home.home import Home

if TYPE_CHECKING:
    from flows.home.settings import Settings
    from flows.outputs.outputs import Outputs
    from flows.score.embeddings import Embeddings
    from lorauter.engine.engine import Engine
    from lorauter.routers import RouterParts
    from lorauter.routing.routes import Router
    from warehouse.snapshots.snapshot import Snapshot


def open_router(
    home: Home,
    snapshot: Snapshot,
    name: str,
    gone: Collection[str] = (),
) -> Router:
    """A router of the settings' base over a snapshot; encoder and base come when they are needed, from the home's hub.

    Args: as `lorauter.loading.load`.
    """
    from lorauter.loading import load
    from lorauter.routing.task_index import load_index

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


def router_parts(home: Home, snapshot: Snapshot) -> RouterParts:
    """What routers of the settings' base over a snapshot are built from; the base is loaded for those that ask it."""
    from lorauter.loading import open_parts

    parts = open_parts(
        snapshot,
        base=home.settings.base,
        options=home.settings.routing,
        encoder=lambda wanted: home.fetch_model(wanted.id, wanted.sha),
        encoder_dtype=home.settings.encoder_dtype,
    )
    return replace(parts, engine=lambda: engine_here(home, parts.index.base, parts.index.base_sha))


def open_outputs(home: Home) -> Outputs:
    """Answers from the home's ledger; shards of what it lacks run where the settings say."""
    from flows.outputs.outputs import Outputs, choose_runner, run_shard
    from flows.outputs.workers import Workers

    make = partial(run_shard, home.ledger, home.plans, partial(loaded_engine, home))
    workers = Workers(home.ledger, home.plans, home.worker_reference)
    run = choose_runner(home.settings.scoring, make, workers, home.root)
    return Outputs(home.ledger, home.plans, home.settings.shard_rows, run)


def open_embeddings(home: Home) -> Embeddings:
    """Vectors of the settings' encoder, kept in the home. Neither hub nor encoder is asked before one is missing."""
    from flows.score.embeddings import Embeddings

    settings = home.settings
    return Embeddings(
        home.root / "embeddings",
        settings.encoder,
        settings.encoder_prompt,
        lambda: home.hub.repo_files(settings.encoder, settings.encoder_revision)[0],
        home.encoder,
    )


def tasks_on(home: Home, base: str, base_sha: str) -> list[Task]:
    """All tasks as a base is asked them: the template `chat` is the base's own. Raises as `Home.tasks`."""
    tasks = home.tasks()
    if all(task.template != CHAT for task in tasks):
        return tasks
    from lorauter.engine.chat import chat_as_template

    own = chat_as_template(home.fetch_model(base, base_sha))
    return [replace(task, template=own) if task.template == CHAT else task for task in tasks]


def engine_here(home: Home, base: str, base_sha: str) -> Engine:
    """The engine that this process answers with: whoever else needs the base loads it no second time."""
    return loaded_engine(home, base, base_sha, home.conditions(base, base_sha).dtype)


def loaded_engine(home: Home, base: str, base_sha: str, dtype: str) -> Engine:
    """The engine of these settings; it stays loaded from shard to shard, and goes before another one comes."""
    wanted = (home.settings, base, base_sha, dtype)
    if not _loaded or _loaded[0][0] != wanted:
        _loaded.clear()
        _loaded.append((wanted, home.engine(base, base_sha, dtype)))
    return _loaded[0][1]


_loaded: list[tuple[tuple[Settings, str, str, str], Engine]] = []
