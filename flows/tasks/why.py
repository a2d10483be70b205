"""Why an adapter was admitted or rejected, and what became of it, told from the ledger and the snapshots.

Knows: what matters first: where it is published, who pinned or banned it, then the rules. Makes no request.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from catalog.adapters.adapter import AdapterId
from catalog.curation import Act, curation_of
from catalog.errors import SettingError, SnapshotError
from flows.home.home import Home
from flows.screen.screen import printable
from warehouse.records.curation import acts
from warehouse.snapshots.pointer import swaps
from warehouse.snapshots.snapshot import open_snapshot


def tell(home: Home, repo: str) -> Iterator[str]:
    """Lines about every adapter of `repo` (org/name, or org/name:folder for one). Raises SettingError if unseen."""
    name, _, folder = repo.partition(":")
    index = home.ledger.index("verdicts")
    keys = [key for key in index if AdapterId.parse(key[2]).repo == name]
    rows = [row for row in index.rows(keys) if folder in ("", row["path"])]
    if not rows:
        raise SettingError(f"{repo} has not been seen.", "Check the name, or run `lorauter refresh` first.")
    rows.sort(key=lambda row: (row["adapter"], row["at"]))
    published, known = _Published(home.snapshots), acts(home.ledger)
    for row in rows:
        yield from published.lines(row)
        yield from _decisions(row, known)
    yield from _listed(home, name)
    for row in rows:
        yield from _story(row)
    yield from _dropped(home, {row["adapter"] for row in rows})


class _Published:
    """What is published, and since when: as far back as snapshots were kept."""

    def __init__(self, root: Path) -> None:
        self._swaps = swaps(root)[::-1]
        self._best: dict[str, list[dict[str, Any]] | None] = {}
        self._root = root

    def lines(self, verdict: Mapping[str, Any]) -> Iterator[str]:
        """The tasks that an adapter is published for; that there is none, where there might be."""
        rows = (self._read(self._swaps[0].id) or []) if self._swaps else []
        own = [row for row in rows if (row["base"], row["adapter"]) == (verdict["base"], verdict["adapter"])]
        for row in own:
            yield printable(
                f"{row['adapter']} is published for {row['task']}: score {row['score']:.2f}, "
                f"lift {row['lift']:+.2f} over the base, since {self._since(row)}"
            )
        if verdict["admitted"] and rows and not own:
            yield printable(f"{verdict['adapter']} is published for no task")

    def _since(self, now: Mapping[str, Any]) -> str:
        """The day of the first snapshot of those in a row that publish it for the task."""
        same = ("base", "task", "adapter")
        day = ""
        for swap in self._swaps:
            best = self._read(swap.id)
            if best is None:
                return f"{day} or earlier"
            if not any(all(row[name] == now[name] for name in same) for row in best):
                break
            day = f"{swap.at:%Y-%m-%d}"
        return day

    def _read(self, id_: str) -> list[dict[str, Any]] | None:
        """The rows of `best` of a snapshot; None where it was removed or cannot be read."""
        if id_ not in self._best:
            try:
                self._best[id_] = open_snapshot(self._root / id_).read("best")
            except SnapshotError:
                self._best[id_] = None
        return self._best[id_]


def _decisions(verdict: Mapping[str, Any], known: Iterable[Act]) -> Iterator[str]:
    """What people decided about an adapter, and still holds."""
    for act in curation_of(known, verdict["base"]).held:
        if act.means(verdict["adapter"]):
            yield printable(f"{AdapterId.parse(verdict['adapter']).name} is {act.with_task}")


def _dropped(home: Home, adapters: Collection[str]) -> Iterator[str]:
    """Where each adapter fell out of a task's race, of several races the last."""
    last: dict[tuple[str, str, str], dict[str, Any]] = {}
    for row in sorted(home.ledger.current("rungs"), key=lambda row: (row["at"], row["rung"])):
        if row["adapter"] in adapters:
            last[row["base"], row["task"], row["adapter"]] = row
    for row in last.values():
        if not row["kept"]:
            yield printable(
                f"  {row['task']}: dropped at rung {row['rung']}, mean {row['mean']:.2f} on {row['n']}, {row['why']}"
            )


def _listed(home: Home, repo: str) -> Iterator[str]:
    """What became of the repo on the hub, where it is no longer there, or closed."""
    index = home.ledger.index("repos")
    for row in index.rows(key for key in index if key[1] == repo):
        if row["gone"]:
            renamed = f", now {row['gone_to']}" if row["gone_to"] else ""
            yield printable(
                f"{repo} is gone from the hub: {row['gone']}{renamed} ({row['target']}, {row['at']:%Y-%m-%d})"
            )


def _story(row: dict[str, Any]) -> Iterator[str]:
    verdict = "admitted" if row["admitted"] else f"rejected: {row['reason']}"
    yield printable(
        f"{row['adapter']} for {row['base']}: {verdict} (rules {row['rules_version']}, {row['at']:%Y-%m-%d})"
    )
    for finding in row["findings"]:
        yield printable(f"  {finding['reason']}: {finding['evidence']}")
    ranks = ", ".join(f"{g['modules']} of rank {g['rank']} × {_number(g['scaling'])}" for g in row["ranks"] or ())
    yield printable(
        f"  {row['modules']} modules ({ranks or 'none'}), {row['size'] or 0:,} bytes, licence {row['licence']}"
    )
    if row["base_named"] not in (None, row["base"]):
        yield printable(f"  it calls its base {row['base_named']!r} (known from its {row['base_source']})")


def _number(scaling: float | None) -> str:
    return "?" if scaling is None else f"{scaling:g}"
