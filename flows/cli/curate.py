"""The group `lorauter curate`. Knows: its commands and what they print. Does not know: any work."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

_HELP = {
    "pin": """Make ADAPTER the published one of a task, whatever the race says.

    \b
    lorauter curate pin ann/legal --task contracts --reason "reviewed by counsel"

    It must be admitted and have raced. Its score is measured as any winner's, on examples that chose nothing.""",
    "unpin": "Let the race choose a task's adapter again.",
    "ban": """Keep ADAPTER out: of one task, or of every one. It need not have been seen yet.

    \b
    lorauter curate ban eve/copycat --reason "stolen weights"
    lorauter curate ban ann/legal --task jokes --reason "trained on the test set"

    The next best takes its place at the next publish, the base where there is none.""",
    "unban": "Lift a ban; name the same adapter, and the same task.",
    "note": "Write something about ADAPTER that stands in every later snapshot. It changes no choice.",
}


@click.group("curate")
def curate_group() -> None:
    """Pin, ban or note adapters, with author and reason; every later publish honours it.

    \b
    lorauter curate pin ann/legal --task contracts --reason "reviewed by counsel"
    lorauter curate ban eve/copycat --reason "stolen weights"
    lorauter curate list
    lorauter sql "FROM ledger_curation"
    """


def _command(kind: str) -> Callable[..., None]:
    @click.argument("adapter")
    @click.option("--task", default="", help="Name of a task.  [default: all]", required=kind in ("pin", "unpin"))
    @click.option("--reason", required=True, help="Why; kept with the act.")
    @click.option("--author", help="Who decides.  [env: LORAUTER_AUTHOR, default: the login]")
    @click.option("--base", default="", help="Base model id.  [default: all]")
    @click.pass_obj
    def command(home: Path | None, /, adapter: str, **flags: Any) -> None:
        from flows import stages
        from flows.home.home import open_home
        from flows.screen.screen import printable

        opened = open_home(home=home)
        act = stages.curate(opened, kind, adapter, **flags)
        about = f" on {act.task}" if act.task else ""
        click.echo(printable(f"{act.adapter}{about} {act}. The next `lorauter publish` honours it."), err=True)
        if kind in ("ban", "unban") and not act.task and (others := stages.copies(opened, act)):
            told = f"The same weights lie under {', '.join(others[:3])}{' and others' if len(others) > 3 else ''}."
            click.echo(printable(f"{told} `lorauter validate` judges those anew."), err=True)

    command.__doc__ = _HELP[kind]
    return command


for _kind in _HELP:
    curate_group.command(_kind)(_command(_kind))


@curate_group.command("list")
@click.option("--all", "everything", is_flag=True, help="Those that were lifted or outweighed too.")
@click.pass_obj
def curate_list(home: Path | None, everything: bool) -> None:
    """List what holds, oldest first: kind, adapter, task, base, author, day, reason; columns by tabs."""
    from flows import stages
    from flows.home.home import open_home
    from flows.screen.screen import printable

    for act in stages.curation(open_home(home=home), everything):
        fields = (act.kind, act.adapter, act.task or "*", act.base or "*", act.author, f"{act.at:%Y-%m-%d}", act.reason)
        click.echo("\t".join(printable(field).replace("\t", " ").replace("\n", " ") for field in fields))
