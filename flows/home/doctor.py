"""Doctor: what a run needs, looked at one by one. Knows the checks; changes nothing."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any
from uuid import uuid4

from catalog.errors import LorauterError
from catalog.hub.client import Hub
from catalog.hub.probe import tell_listing, tell_text, tell_weights, tell_windows
from catalog.hub.target import Target
from catalog.plugins import Registry
from flows.home.settings import Settings
from warehouse.ledger.migrations import pending
from warehouse.storage.files import write_text
from warehouse.storage.storage import Storage
from warehouse.tasks.folder import stored_tasks

_LEAST_GIB = 5
_PACKAGES = ("torch", "transformers", "peft", "huggingface_hub", "prefect", "duckdb", "pyarrow")


@dataclass(frozen=True, slots=True)
class Check:
    """One look: its name, whether all is well, and what was seen or what to do."""

    name: str
    fine: bool
    said: str


@dataclass(frozen=True, slots=True)
class Opened:
    """What is looked at. Storage and hub are opened by the look that needs them: what fails then fails that look."""

    settings: Settings
    storage: Callable[[], Storage]
    hub: Callable[[], Hub]
    snapshots: Path
    task_folder: Path


def examine(opened: Opened) -> list[Check]:
    """All checks, in the order a run needs them."""
    base = opened.settings.base
    looks: dict[str, Callable[[], str]] = {
        "home": lambda: _home(opened),
        "disk": lambda: _disk(opened.settings.home),
        "storage": lambda: _storage(opened),
        "token": lambda: opened.hub().whoami(),
        "listing": lambda: tell_listing(opened.hub(), Target("base", base)),
        "text": lambda: tell_text(opened.hub(), base),
        "weights": lambda: tell_weights(opened.hub(), base),
        "windows": lambda: tell_windows(opened.hub()),
        "tasks": lambda: f"{len(stored_tasks(opened.task_folder))} tasks",
        "snapshot": lambda: _snapshot(opened.snapshots),
        "packages": _packages,
        "device": lambda: _device(opened.settings),
        "versions": lambda: ", ".join(f"{name} {version(name)}" for name in _PACKAGES),
    }
    return [_look(name, look) for name, look in looks.items()]


def _look(name: str, look: Callable[[], str]) -> Check:
    try:
        return Check(name, True, look())
    except LorauterError as error:
        return Check(name, False, str(error))


def _home(opened: Opened) -> str:
    waiting = pending(opened.storage())
    return f"{opened.settings.home}{', of an older layout: lorauter upgrade makes it quicker' if waiting else ''}"


def _disk(root: Path) -> str:
    free = shutil.disk_usage(root).free / 2**30
    if free < _LEAST_GIB:
        raise LorauterError(f"{free:.1f} GiB are free.", f"Free {_LEAST_GIB} GiB or set LORAUTER_HOME elsewhere.")
    return f"{free:.0f} GiB free"


def _storage(opened: Opened) -> str:
    if not opened.settings.storage:
        return "in the home"
    name, storage = f"doctor-{uuid4().hex}.txt", opened.storage()
    storage.put(name, lambda path: write_text(path, name))
    storage.local(name)
    storage.delete(name)
    return f"{opened.settings.storage} takes, shows and deletes a file"


def _snapshot(root: Path) -> str:
    from warehouse.snapshots.snapshot import current_snapshot

    snapshot = current_snapshot(root)
    return f"{snapshot.id}, published {snapshot.created}"


def _packages() -> str:
    """What installed packages bring, each of them loaded."""
    from catalog.tasks.metrics import METRICS
    from lorauter.compositions import COMPOSITIONS
    from lorauter.gates.named import GATES
    from lorauter.racing.strategies import STRATEGIES
    from lorauter.routers import ROUTERS

    registries: tuple[Registry[Any], ...] = (ROUTERS, GATES, COMPOSITIONS, METRICS, STRATEGIES)
    faults = [fault for registry in registries for fault in registry.faults]
    if faults:
        raise LorauterError(" ".join(faults))
    brought = [(registry, name) for registry in registries for name in registry.brought]
    for registry, name in brought:
        registry[name]
    told = [f"{registry.kind} {name} of {registry.package(name)}" for registry, name in brought]
    return ", ".join(told) or "none bring a router, gate, composition, metric or strategy"


def _device(settings: Settings) -> str:
    from lorauter.device import choose_device, choose_dtype

    device = choose_device(settings.device)
    return f"{device}, {choose_dtype(settings.dtype, device)}"
