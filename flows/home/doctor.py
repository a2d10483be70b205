"""Doctor: what a run needs, looked at one by one. Knows the checks; changes nothing."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any
from uuid import uuid4

from catalog.errors import LorauterError
from catalog.hub.probe import tell_listing, tell_text, tell_weights, tell_windows
from catalog.hub.target import Target
from catalog.plugins import Registry
from flows.home.home import Home
from warehouse.ledger.migrations import pending
from warehouse.storage.files import write_text

_LEAST_GIB = 5
_PACKAGES = ("torch", "transformers", "peft", "huggingface_hub", "prefect", "duckdb", "pyarrow")


@dataclass(frozen=True, slots=True)
class Check:
    """One look: its name, whether all is well, and what was seen or what to do."""

    name: str
    fine: bool
    said: str


def examine(home: Home) -> list[Check]:
    """All checks, in the order a run needs them."""
    looks: dict[str, Callable[[Home], str]] = {
        "home": _home,
        "disk": _disk,
        "storage": _storage,
        "token": _token,
        "listing": lambda home: tell_listing(home.hub, Target("base", home.settings.base)),
        "text": lambda home: tell_text(home.hub, home.settings.base),
        "weights": lambda home: tell_weights(home.hub, home.settings.base),
        "windows": lambda home: tell_windows(home.hub),
        "tasks": _tasks,
        "snapshot": _snapshot,
        "packages": _packages,
        "device": _device,
        "versions": lambda _: ", ".join(f"{name} {version(name)}" for name in _PACKAGES),
    }
    return [_look(name, look, home) for name, look in looks.items()]


def _look(name: str, look: Callable[[Home], str], home: Home) -> Check:
    try:
        return Check(name, True, look(home))
    except LorauterError as error:
        return Check(name, False, str(error))


def _home(home: Home) -> str:
    waiting = pending(home.storage)
    return f"{home.root}{', of an older layout: lorauter upgrade makes it quicker' if waiting else ''}"


def _disk(home: Home) -> str:
    free = shutil.disk_usage(home.root).free / 2**30
    if free < _LEAST_GIB:
        raise LorauterError(f"{free:.1f} GiB are free.", f"Free {_LEAST_GIB} GiB or set LORAUTER_HOME elsewhere.")
    return f"{free:.0f} GiB free"


def _storage(home: Home) -> str:
    if not home.settings.storage:
        return "in the home"
    name = f"doctor-{uuid4().hex}.txt"
    home.storage.put(name, lambda path: write_text(path, name))
    home.storage.local(name)
    home.storage.delete(name)
    return f"{home.settings.storage} takes, shows and deletes a file"


def _token(home: Home) -> str:
    return home.hub.whoami()


def _tasks(home: Home) -> str:
    return f"{len(home.tasks())} tasks"


def _snapshot(home: Home) -> str:
    from warehouse.snapshots.snapshot import current_snapshot

    opened = current_snapshot(home.snapshots)
    return f"{opened.id}, published {opened.created}"


def _packages(_home: Home) -> str:
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


def _device(home: Home) -> str:
    from lorauter.device import choose_device, choose_dtype

    device = choose_device(home.settings.device)
    return f"{device}, {choose_dtype(home.settings.dtype, device)}"
