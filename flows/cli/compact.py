"""The command `lorauter compact`. Knows: its flags and what it prints. Does not know: any work."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("compact")
@click.argument("tables", nargs=-1)
@click.option("--dry-run", is_flag=True, help="Tell what would be done, and do nothing.")
@click.pass_obj
def compact_command(home: Path | None, tables: tuple[str, ...], dry_run: bool) -> None:
    """Join the many small files of the ledger's TABLES into few; no row is lost.  [default: all tables]

    \b
    lorauter compact --dry-run
    lorauter compact outputs verdicts

    Safe at any time, beside refreshes and other compactions, and when killed. Files younger than an hour are left
    alone, and those that were joined are deleted by a compaction a day later.
    """
    from catalog.errors import SettingError
    from flows.home.home import open_home
    from flows.home.parts import ledger_of
    from flows.screen.progress import stage
    from warehouse.ledger.compaction import compact
    from warehouse.schemas.ledger import LEDGER

    unknown = sorted(set(tables) - set(LEDGER))
    if unknown:
        raise SettingError(f"There is no table {', '.join(unknown)}.", f"Choose from: {', '.join(LEDGER)}.")
    ledger = ledger_of(open_home(home=home))
    wanted = tables or tuple(LEDGER)
    compactions = []
    with stage("compact", len(wanted), "tables") as advance:
        for table in wanted:
            compactions.append(compact(ledger, table, dry_run=dry_run))
            advance(1)
    for one in compactions:
        joined = f"{one.joined} files into {one.made}"
        click.echo(f"{one.table}\t{joined}\t{one.rows} rows\t{one.removed} old files removed")
