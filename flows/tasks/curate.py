"""Curate: a person's pins, bans and notes, kept in the ledger with author, reason and time.

Knows: what an act must name to be taken. Does not know: how acts are honoured (flows/score, flows/publish).
"""

from __future__ import annotations

import getpass
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from catalog.adapters.adapter import AdapterId
from catalog.curation import BAN, PIN, Act, curation_of
from catalog.errors import SettingError
from warehouse.ledger.ledger import Ledger
from warehouse.records.curation import acts, record
from warehouse.records.verdicts import linked_copies, verdicts_on
from warehouse.tasks.folder import stored_tasks


def curate(ledger: Ledger, act: Act, bases: Iterable[str], task_folder: Path) -> None:
    """Record an act; the next score or publish honours it.

    Args:
        bases: those of the run; bans that hold for one of them forbid a pin.
        task_folder: the tasks that an act may name.

    Raises:
        SettingError: no reason; a task that does not exist; a pin without task, of an adapter that nobody has seen,
            that was rejected or is banned.
    """
    if not act.reason:
        raise SettingError("There is no reason.", 'Give one: --reason "why".')
    if act.kind == PIN and not act.task:
        raise SettingError("A pin is of one task.", "Name it: --task NAME.")
    if act.task and act.task not in (names := [task.name for task in stored_tasks(task_folder)]):
        raise SettingError(f"There is no task {act.task!r}.", f"Choose one of: {', '.join(names)}.")
    if act.kind == PIN:
        _check_pin(ledger, act, [held for held in holding(ledger, bases) if held.kind == BAN])
    record(ledger, act)


def whoami(author: str) -> str:
    """Who decides here: the setting, or the login name."""
    try:
        return author or getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        return f"uid {os.getuid()}"


def holding(ledger: Ledger, bases: Iterable[str]) -> Iterator[Act]:
    """The acts that hold for any of these bases, and for all, each once."""
    everything = acts(ledger)
    yield from dict.fromkeys(act for base in bases for act in curation_of(everything, base).held)


def copies(ledger: Ledger, act: Act) -> list[str]:
    """Names under which the weights of an adapter that an act means lie too, by the last verdicts."""
    links = linked_copies(ledger)
    others = [copy for copy, original in links if act.means(original)]
    others += [original for copy, original in links if act.means(copy)]
    return sorted({AdapterId.parse(key).name for key in others if not act.means(key)})


def _check_pin(ledger: Ledger, pin: Act, bans: list[Act]) -> None:
    adapter = pin.adapter
    verdicts = verdicts_on(ledger, lambda key: adapter == key or AdapterId.parse(key).is_called(adapter), pin.base)
    if not verdicts:
        raise SettingError(f"{adapter} has not been seen.", "Check the name, or run `lorauter refresh` first.")
    admitted = [verdict.id.key for verdict in verdicts if verdict.admitted]
    if not admitted:
        last = verdicts[-1]
        if last.duplicate_of and any(not ban.task and ban.means(last.duplicate_of) for ban in bans):
            banned = f"{adapter} repeats {last.duplicate_of}, which is banned."
            raise SettingError(banned, "Judge it anew: lorauter validate.")
        raise SettingError(f"{adapter} was rejected: {last.reason}.", f"See: lorauter why {last.id.repo}.")
    bans = [ban for ban in bans if ban.task in ("", pin.task)]
    if all(any(ban.means(key) for ban in bans) for key in admitted):
        ban = next(ban for ban in bans if ban.means(admitted[-1]))
        raise SettingError(f"{adapter} is {ban}.", "Lift that first: lorauter curate unban.")
