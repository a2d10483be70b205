"""The command `lorauter why`. Knows: what it prints. Does not know: any work."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("why")
@click.argument("repo")
@click.pass_obj
def why_command(home: Path | None, repo: str) -> None:
    """Tell why REPO (org/name or org/name:folder) was admitted or rejected, with the evidence."""
    from flows import stages
    from flows.home.home import open_home

    for line in stages.why(open_home(home=home), repo):
        click.echo(line)
