"""The command `lorauter doctor`. Knows: what it prints. Does not know: any check (flows/home/doctor)."""

from __future__ import annotations

import sys
from pathlib import Path

import click


@click.command("doctor")
@click.pass_obj
def doctor_command(home: Path | None) -> None:
    """Check endpoint, token, disk, devices and versions, and say what to do. Exit code 1 if anything fails."""
    from flows import stages
    from flows.home.home import open_home

    checks = stages.examine(open_home(home=home))
    for check in checks:
        click.echo(f"{'ok  ' if check.fine else 'FAIL'} {check.name}: {check.said}")
    if not all(check.fine for check in checks):
        sys.exit(1)
