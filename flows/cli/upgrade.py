"""The command `lorauter upgrade`. Knows: its flags and what it prints. Does not know: any migration."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("upgrade")
@click.option("--dry-run", is_flag=True, help="Tell what would be done, and do nothing.")
@click.pass_obj
def upgrade_command(home: Path | None, dry_run: bool) -> None:
    """Bring a home that an older version wrote to today's layout.

    \b
    lorauter upgrade --dry-run

    Old homes open as they are; upgraded ones are read quicker. Let nothing else work on the home, or on the storage
    that machines share, meanwhile. If it is killed, run it again.
    """
    from flows.home.home import open_home
    from flows.home.parts import storage_of
    from flows.screen.progress import stage
    from warehouse.ledger.migrations import migrate, pending

    storage = storage_of(open_home(home=home))
    waiting = pending(storage)
    if not waiting:
        click.echo("Nothing to do: the home is of today's format.")
    for migration in waiting:
        if dry_run:
            click.echo(f"{migration.number}\t{migration.about}")
            continue
        with stage("upgrade"):
            moved = migrate(storage, migration)
        click.echo(f"{migration.number}\t{migration.about}\t{moved} files moved")
