"""The command `lorauter publish`. Knows: its flags and what it prints. Does not know: any work."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from flows.cli.options import force_option, strategy_option
from flows.cli.running import leave_on_interrupt


@click.command("publish")
@click.option("--base", help="Base model id.")
@click.option("--endpoint", help="Address of the hub.")
@strategy_option
@force_option
@click.option("--with-weights", is_flag=True, default=None, help="The published adapters' files travel with it.")
@click.pass_obj
def publish_command(home: Path | None, /, force: str, **flags: Any) -> None:
    """Freeze the scored catalog as an immutable snapshot and make it the current one.

    What people decided is honoured (`lorauter curate`). A catalog that covers fewer tasks, or lifts less, than the
    published one by more than LORAUTER_GATE__COVERAGE_FALL or LORAUTER_GATE__LIFT_FALL is refused. What LORAUTER_FIT
    names is trained then, and the snapshot published with it.
    """
    from flows import stages
    from flows.home.home import open_home
    from flows.publish.run_record import Run

    leave_on_interrupt()
    opened, run = open_home(home=home, **flags), Run.begin("publish")
    judged = stages.read_base(opened)
    scores = stages.score(opened, judged)
    snapshot = stages.publish(opened, judged, scores, run, force)
    if opened.settings.fit:
        snapshot = stages.fit(opened, base=judged.id).snapshot
    click.echo(snapshot.folder)
