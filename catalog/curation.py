"""Curation: what a person decided about adapters, over what scores say.

Knows: pins, bans and notes, which of them hold, which adapter one means. Does not know: where they are kept (the
ledger's table `curation`), how scores come about.

A pin makes an adapter the published one of a task. A ban keeps one out of a task, or of all. A note changes nothing.
Every act has an author, a reason and a time; a later act on the same thing replaces an earlier one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from catalog.adapters.adapter import AdapterId

PIN, BAN, NOTE, UNPIN, UNBAN, FORCE = "pin", "ban", "note", "unpin", "unban", "force"
_DONE = {PIN: "pinned", BAN: "banned", NOTE: "noted", UNPIN: "unpinned", UNBAN: "unbanned", FORCE: "forced"}


@dataclass(frozen=True, slots=True)
class Act:
    """One act of a curator.

    Args:
        kind: pin, ban, note, unpin, unban; or force, a publish that the gate would have refused.
        adapter: `repo`, `repo:path` (all revisions) or a whole key; "" for force.
        task: "" for every task.
        base: the base model it is about; "" for all.
    """

    kind: str
    adapter: str
    task: str
    base: str
    author: str
    reason: str
    at: datetime

    def means(self, key: str) -> bool:
        """Whether it is about the adapter of that key; of a name, whether about every adapter that the name means."""
        return key == self.adapter or AdapterId.parse(key if "@" in key else f"{key}@").is_called(self.adapter)

    def __str__(self) -> str:
        """`pinned by ann on 2026-11-22: reason`."""
        return f"{_DONE[self.kind]} {self._hand}"

    @property
    def with_task(self) -> str:
        """`pinned for colours by ann on 2026-11-22: reason`; as `str` where it is for every task."""
        return f"{_DONE[self.kind]}{f' for {self.task}' if self.task else ''} {self._hand}"

    @property
    def _hand(self) -> str:
        return f"by {self.author} on {self.at:%Y-%m-%d}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Curation:
    """The acts that hold for one base."""

    held: tuple[Act, ...] = ()

    def ban(self, key: str, task: str = "") -> Act | None:
        """The ban on an adapter, by key or name, for a task; for none named, the one for all tasks."""
        bans = (act for act in self.held if act.kind == BAN and act.task in ("", task) and act.means(key))
        return next(bans, None)

    def pin(self, task: str) -> Act | None:
        """The pin of a task."""
        return next((act for act in self.held if act.kind == PIN and act.task == task), None)


def curation_of(acts: Iterable[Act], base: str) -> Curation:
    """What holds for a base, oldest first: a task's last pin, the last ban of an adapter and task, all notes."""
    ordered = sorted((act for act in acts if act.base in ("", base)), key=lambda act: act.at)
    last: dict[tuple[str, ...], Act] = {}
    notes = [act for act in ordered if act.kind == NOTE]
    for act in ordered:
        if act.kind in (PIN, UNPIN):
            last[PIN, act.task] = act
        elif act.kind in (BAN, UNBAN):
            last[BAN, act.adapter, act.task] = act
    held = [act for act in last.values() if act.kind in (PIN, BAN)]
    return Curation(tuple(sorted([*held, *notes], key=lambda act: (act.at, act.kind, act.adapter, act.task))))


def choose(
    curation: Curation, task: str, best: str, met: Mapping[str, Sequence[float]]
) -> tuple[str, Act | None, str | None]:
    """The adapter that a task publishes, the act that decided it, and why a pin cannot be honoured.

    Args:
        best: the race's winner, "" for the base.
        met: scores of all that took part, "" for the base among them.

    A ban wins over a pin. Where a pin means several folders, the race's winner among them is taken, else the one with
    the highest gain. In place of a banned winner comes the adapter with the highest gain above 0, or the base where
    there is none. The gain is the mean difference to the base on the examples that both met.
    """
    free = [key for key in met if key and met[key] and not curation.ban(key, task)]
    pin = curation.pin(task)
    if pin and (pinned := [key for key in free if pin.means(key)]):
        return best if best in pinned else _by_gain(pinned, met)[0][1], pin, None
    problem = _unheeded(curation, pin, met) if pin else None
    ban = curation.ban(best, task) if best else None
    if ban is None:
        return best, None, problem
    ranked = _by_gain(free, met)
    return (ranked[0][1] if ranked and ranked[0][0] > 0 else ""), ban, problem


def _unheeded(curation: Curation, pin: Act, met: Iterable[str]) -> str:
    """Why a pin of a task is not honoured."""
    ban = curation.ban(pin.adapter, pin.task)
    bans = [ban] if ban else [curation.ban(key, pin.task) for key in met if key and pin.means(key)]
    if bans and bans[0]:
        return f"{pin.adapter} is {pin}, but it is {bans[0]}. The ban outweighs; lift one of them."
    return f"{pin.adapter} is {pin}, but took no part on {pin.task}."


def _by_gain(keys: Iterable[str], met: Mapping[str, Sequence[float]]) -> list[tuple[float, str]]:
    """Gain and key, the highest gain first; of equal ones by name."""
    return sorted(((_gain(met[key], met[""]), key) for key in keys), key=lambda pair: (-pair[0], pair[1]))


def _gain(own: Sequence[float], base: Sequence[float]) -> float:
    """Mean difference to the base on the examples that both met."""
    both = list(zip(own, base, strict=False))
    return sum(a - b for a, b in both) / len(both) if both else 0.0
