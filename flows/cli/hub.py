"""The group `lorauter hub`. Knows: its flags. Does not know: what a mirror serves (flows/mirror)."""

from __future__ import annotations

from pathlib import Path

import click

from flows.cli.options import PATH


@click.group("hub")
def hub_group() -> None:
    """A mirror of the Hub."""


@hub_group.command("serve")
@click.argument("folder", type=PATH)
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", default=8321, show_default=True, help="0 picks a free one.")
@click.option("--limits/--no-limits", default=True, show_default=True, help="Refuse what the Hub's windows refuse.")
def hub_serve(folder: Path, host: str, port: int, limits: bool) -> None:
    """Serve FOLDER (ORG/NAME/files) with the Hub's own routes and limits, until Ctrl-C.

    \b
    lorauter hub serve /data/mirror
    HF_ENDPOINT=http://127.0.0.1:8321 hf download org/name
    """
    from flows.mirror.server import serve

    serve(folder, host, port, lambda line: click.echo(line, err=True), limits=limits)
