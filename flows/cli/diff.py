"""The command `lorauter diff`: what changed between two snapshots, as a table, CSV or JSON.

Knows: its flags, which columns it shows. Does not know: how changes are found (warehouse/snapshots/diff); imports
nothing heavy before it runs.
"""

from __future__ import annotations

from pathlib import Path

import click

_SHOWN = ("task", "change", "adapter", "lift_before", "lift", "mean_before", "mean", "chosen_before", "chosen")


@click.command("diff")
@click.argument("before")
@click.argument("now", default="current")
@click.option("--task", help="Of one task only.")
@click.option("--least", type=click.FloatRange(0), default=0.01, show_default=True, help="Least change of lift.")
@click.option("--format", "form", type=click.Choice(["table", "csv", "json"]), default="table", show_default=True)
@click.pass_obj
def diff_command(home: Path | None, /, before: str, now: str, task: str | None, least: float, form: str) -> None:
    """Tell which adapters came, went, rose and fell from BEFORE to NOW, by task.

    \b
    lorauter diff 2026-11-01                    # to what is published now
    lorauter diff 3f2a 9c41 --task contracts --format csv

    Each is an id, its beginning, a date (what was published at its end), a folder, or `current`. An adapter is the same
    over its revisions. rose and fell: by lift over the base, or by becoming the task's published one.
    """
    from catalog.errors import SettingError
    from flows.cli.sql_output import print_rows
    from flows.home.home import open_home
    from flows.home.parts import snapshot_of
    from warehouse.snapshots.diff import changes

    opened = open_home(home=home)
    old, new = (snapshot_of(opened, which) for which in (before, now))
    rows = changes(old.folder, new.folder, least).to_pylist()
    tasks = {row["task"] for snapshot in (old, new) for row in snapshot.read("tasks")}
    if task and task not in tasks:
        raise SettingError(f"There is no task {task!r} in either.", f"Choose one of: {', '.join(sorted(tasks))}.")
    wanted = [row for row in rows if task in (None, row["task"])]
    wanted.sort(key=lambda row: (row["task"], -abs((row["lift"] or 0.0) - (row["lift_before"] or 0.0)), row["adapter"]))
    print_rows(_SHOWN, (tuple(row[name] for name in _SHOWN) for row in wanted), form)
