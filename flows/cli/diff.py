"""The command `lorauter diff`: what changed between two snapshots, as a table, CSV or JSON.

Knows: its flags, which columns it shows. Does not know: how changes are found (warehouse/snapshots/diff); imports
nothing heavy before it runs.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from catalog.adapters.adapter import AdapterId

if TYPE_CHECKING:
    from warehouse.records.format_changes import FormatChange

_SHOWN = (
    *("task", "change", "adapter", "lift_before", "lift", "mean_before", "mean", "chosen_before", "chosen"),
    *("format_before", "format"),
)


@click.command("diff")
@click.argument("before")
@click.argument("now", default="current")
@click.option("--task", help="Of one task only.")
@click.option("--least", type=click.FloatRange(0), default=0.01, show_default=True, help="Least change of lift.")
@click.option("--format", "form", type=click.Choice(["table", "csv", "json"]), default="table", show_default=True)
@click.pass_obj
def diff_command(home: Path | None, /, before: str, now: str, task: str | None, least: float, form: str) -> None:
    """Tell which adapters came, went, rose, fell and switched formats from BEFORE to NOW, by task.

    \b
    lorauter diff 2026-11-01                    # to what is published now
    lorauter diff 3f2a 9c41 --task contracts --format csv

    Each is an id, its beginning, a date (what was published at its end), a folder, or `current`. An adapter is the same
    over its revisions. rose and fell: by lift over the base, or by becoming the task's published one. switched: its
    lift is as it was, and it is asked in another prompt format.

    format_before and format are the adapter's prompt formats; none is the task's own template. The base, "" in csv and
    json, has a row where it is asked in another. Below the table stands every task whose published format, or whose
    base's, is another one.
    """
    from catalog.errors import SettingError
    from flows.cli.sql_output import print_rows
    from flows.home.home import open_home
    from flows.home.parts import snapshot_of
    from flows.screen.screen import printable
    from warehouse.records.format_changes import format_changes
    from warehouse.snapshots.diff import changes

    opened = open_home(home=home)
    old, new = (snapshot_of(opened, which) for which in (before, now))
    rows = changes(old.folder, new.folder, least).to_pylist()
    tasks = {row["task"] for snapshot in (old, new) for row in snapshot.read("tasks")}
    if task and task not in tasks:
        raise SettingError(f"There is no task {task!r} in either.", f"Choose one of: {', '.join(sorted(tasks))}.")
    wanted = [row for row in rows if task in (None, row["task"])]
    wanted.sort(key=lambda row: (row["task"], -abs((row["lift"] or 0.0) - (row["lift_before"] or 0.0)), row["adapter"]))
    if form != "table":
        print_rows(_SHOWN, (tuple(row[name] for name in _SHOWN) for row in wanted), form)
        return
    rows = [{**row, "adapter": row["adapter"] or "(base)"} for row in wanted]
    print_rows(_SHOWN, (tuple(row[name] for name in _SHOWN) for row in rows), form)
    for change in format_changes(old, new):
        if task in (None, change.task):
            for line in _lines(change):
                click.echo(printable(line))


def _lines(change: FormatChange) -> Iterator[str]:
    """What a task's change of formats says to people."""
    was, now = (AdapterId.parse(key).name if key else "the base" for key in change.adapters)
    if change.formats[0] != change.formats[1] and any(change.adapters):
        by = f" ({was})" if was != now else ""
        yield f"{change.task}: {now} is published, asked in {_named(change.formats[1])}; {_before(change.formats)}{by}"
    if change.base_formats[0] != change.base_formats[1]:
        yield f"{change.task}: the base is asked in {_named(change.base_formats[1])}; {_before(change.base_formats)}"


def _before(formats: tuple[str | None, str | None]) -> str:
    return f"before in {_named(formats[0])}"


def _named(format_: str | None) -> str:
    return format_ or "the task's own template"
