"""The command `lorauter fit`. Knows: its flags and what it prints. Does not know: any work."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from flows.cli.running import leave_on_interrupt


@click.command("fit")
@click.argument("routers", nargs=-1, metavar="ROUTER…")
@click.option("--base", help="Base model id.")
@click.option(
    "--seconds", "fit_seconds", type=click.FloatRange(0, min_open=True), help="Most of one training.  [default: 3600]"
)
@click.option("--seed", "fit_seed", type=click.IntRange(0), help="Of all draws.  [default: 0]")
@click.option("--device", help="cuda, cuda:N or cpu.  [default: what is there]")
@click.option("--again", is_flag=True, help="Train even where a state is stored.")
@click.pass_obj
def fit_command(home: Path | None, /, routers: tuple[str, ...], again: bool, **flags: Any) -> None:
    """Train routers and gates that learn on the published catalog, and publish it with what they learned.

    \b
    lorauter fit dlp_lora two_stage
    lorauter fit meteora --seconds 7200 --device cuda

    Training and validation examples are read, test examples never. Killed, it goes on where it was. What is trained for
    the same tasks, adapters and code is not trained again. Without a name, the setting LORAUTER_FIT says which.
    """
    from flows import stages
    from flows.home.home import open_home

    leave_on_interrupt()
    opened = open_home(home=home, **flags)
    done = stages.fit(opened, routers, again=again)
    for line in done.told:
        click.echo(line, err=True)
    click.echo(done.snapshot.folder)
