"""The command `lorauter doctor`. Knows: what it prints. Does not know: any check (flows/home/doctor)."""

from __future__ import annotations

import sys
from pathlib import Path

import click


@click.command("doctor")
@click.pass_obj
def doctor_command(home: Path | None) -> None:
    """Check endpoint, token, disk, devices and versions, and say what to do. Exit code 1 if anything fails."""
    from flows.home.doctor import examine
    from flows.home.home import open_home

    findings = examine(open_home(home=home))
    for finding in findings:
        click.echo(f"{'ok  ' if finding.fine else 'FAIL'} {finding.name}: {finding.said}")
    if not all(finding.fine for finding in findings):
        sys.exit(1)
