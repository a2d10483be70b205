"""Curate: a person's pins, bans and notes, kept in the ledger with author, reason and time.

Knows: what an act must name to be taken. Does not know: how acts are honoured (score_adapters, publish_catalog).
"""

from __future__ import annotations

import getpass
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from catalog.adapters.adapter import AdapterId
from catalog.curation import BAN, PIN, Act, curation_of
from catalog.errors import SettingError
from flows.home.home import Home
from warehouse.records.curation import acts, record


def curate(home: Home, kind: str, adapter: str, task: str, reason: str, author: str | None, base: str = "") -> Act:
    """Record an act; the next score or publish honours it.

    Args: as `catalog.curation.Act`. author: see `whoami` where left out.

    Raises:
        SettingError: no reason; a task that does not exist; a pin without task, of an adapter that nobody has seen,
            that was rejected or is banned.
    """
    _check(home, kind, adapter, task, reason, base)
    act = Act(kind, adapter, task, base, author or whoami(home), reason.strip(), datetime.now(UTC))
    record(home.ledger, act)
    return act


def whoami(home: Home) -> str:
    """Who decides here: the setting, or the login name."""
    try:
        return home.settings.author or getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        return f"uid {os.getuid()}"


def holding(home: Home) -> Iterator[Act]:
    """The acts that hold for any base of the settings, and for all, each once."""
    known = acts(home.ledger)
    yield from dict.fromkeys(act for base in home.wanted.bases for act in curation_of(known, base).held)


def copies(home: Home, act: Act) -> list[str]:
    """Names under which the weights of an adapter that an act means lie too, by the last verdicts."""
    linked = [
        (key[2], original) for key, (original,) in home.ledger.index("verdicts", ["duplicate_of"]).columns.items()
    ]
    pairs = [(one, original) for one, original in linked if original]
    found = [one for one, original in pairs if act.means(original)] + [o for one, o in pairs if act.means(one)]
    return sorted({AdapterId.parse(key).name for key in found if not act.means(key)})


def _check(home: Home, kind: str, adapter: str, task: str, reason: str, base: str) -> None:
    if not reason.strip():
        raise SettingError("There is no reason.", 'Give one: --reason "why".')
    if kind == PIN and not task:
        raise SettingError("A pin is of one task.", "Name it: --task NAME.")
    if task and task not in (known := [one.name for one in home.tasks()]):
        raise SettingError(f"There is no task {task!r}.", f"Choose one of: {', '.join(known)}.")
    if kind == PIN:
        _check_pin(home, adapter, task, base)


def _check_pin(home: Home, adapter: str, task: str, base: str) -> None:
    rows = [row for row in _verdicts(home, adapter) if base in ("", row["base"])]
    if not rows:
        raise SettingError(f"{adapter} has not been seen.", "Check the name, or run `lorauter refresh` first.")
    if not any(row["admitted"] for row in rows):
        original = rows[-1]["duplicate_of"]
        if original and any(act.kind == BAN and not act.task and act.means(original) for act in holding(home)):
            raise SettingError(f"{adapter} repeats {original}, which is banned.", "Judge it anew: lorauter validate.")
        raise SettingError(f"{adapter} was rejected: {rows[-1]['reason']}.", f"See: lorauter why {rows[-1]['repo']}.")
    bans = [act for act in holding(home) if act.kind == BAN and act.task in ("", task)]
    admitted = [row["adapter"] for row in rows if row["admitted"]]
    if all(any(ban.means(key) for ban in bans) for key in admitted):
        ban = next(ban for ban in bans if ban.means(admitted[-1]))
        raise SettingError(f"{adapter} is {ban}.", "Lift that first: lorauter curate unban.")


def _verdicts(home: Home, adapter: str) -> list[dict[str, Any]]:
    index = home.ledger.index("verdicts")
    meant = (key for key in index if adapter == key[2] or AdapterId.parse(key[2]).is_called(adapter))
    return sorted(index.rows(meant), key=lambda row: row["at"])
