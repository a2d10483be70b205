"""The command `lorauter score`. Knows: its flags and what it prints. Does not know: any work."""

from __future__ import annotations

from pathlib import Path

import click

from flows.cli.options import strategy_option
from flows.cli.running import leave_on_interrupt


@click.command("score")
@click.option("--base", help="Base model id.")
@click.option("--endpoint", help="Address of the hub.")
@strategy_option
@click.pass_obj
def score_command(home: Path | None, base: str | None, endpoint: str | None, strategy: str | None) -> None:
    """Score the admitted adapters on every task. No output is made twice.

    All meet a few examples of every task; who may still win goes on, rung by rung. What a name and a card say, and
    how an adapter does on other tasks, decides how long it is believed in. New adapters race the known leaders;
    `lorauter why REPO` tells where and why an adapter was dropped.
    """
    from flows import stages
    from flows.home.home import open_home

    leave_on_interrupt()
    opened = open_home(home=home, base=base, endpoint=endpoint, strategy=strategy)
    scores = stages.score(opened, stages.read_base(opened))
    for scored in scores.tasks:
        click.echo(f"{scored.task.name}\t{scored.best or '(base)'}")
    click.echo(f"{scores.spent} evaluations, {scores.new} new; exhaustive: {scores.exhaustive}.", err=True)
