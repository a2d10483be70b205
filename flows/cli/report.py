"""The command `lorauter report`. Knows flags; imports nothing heavy before it runs."""

from __future__ import annotations

from pathlib import Path

import click

from flows.cli.options import FILE, snapshot_option


@click.command("report")
@click.option("--out", type=FILE, required=True, help="File to write, e.g. report.html.")
@snapshot_option
@click.pass_obj
def report_command(home: Path | None, /, out: Path, snapshot: str | None) -> None:
    """Write the catalog as one HTML file: funnel, heatmap, brackets, task map, licences, a card for every adapter.

    \b
    lorauter report --out report.html

    The file needs no network and makes no request. `refresh` writes it too, to HOME/reports/<snapshot>.html.
    """
    from flows.home.home import open_home
    from flows.home.parts import snapshot_of
    from flows.stages import write_page

    opened = open_home(home=home)
    shown = snapshot_of(opened, snapshot)
    write_page(opened, shown, out)
    click.echo(f"{out}: snapshot {shown.id}, {out.stat().st_size / 1e6:.2f} MB.", err=True)
