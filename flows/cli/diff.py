"""What changed between two snapshots, as a table, CSV or JSON.

Knows: the three forms. Does not know: how changes are found (warehouse/snapshots/diff).
"""

from __future__ import annotations

from catalog.errors import SettingError
from flows.cli.sql_output import print_rows
from flows.home.home import Home
from warehouse.snapshots.diff import changes

_SHOWN = ("task", "change", "adapter", "lift_before", "lift", "mean_before", "mean", "chosen_before", "chosen")


def tell_diff(home: Home, before: str, now: str, *, task: str | None, least: float, form: str) -> None:
    """Print the changes from one snapshot to another, task by task, the largest first."""
    old, new = (home.snapshot(which) for which in (before, now))
    rows = changes(old.folder, new.folder, least).to_pylist()
    known = {row["task"] for snapshot in (old, new) for row in snapshot.read("tasks")}
    if task and task not in known:
        raise SettingError(f"There is no task {task!r} in either.", f"Choose one of: {', '.join(sorted(known))}.")
    wanted = [row for row in rows if task in (None, row["task"])]
    wanted.sort(key=lambda row: (row["task"], -abs((row["lift"] or 0.0) - (row["lift_before"] or 0.0)), row["adapter"]))
    print_rows(_SHOWN, (tuple(row[name] for name in _SHOWN) for row in wanted), form)
