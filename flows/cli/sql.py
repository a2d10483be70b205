"""The command `lorauter sql`: its flags and their help.

Knows: flags, where a query comes from. Does not know: any work; imports nothing heavy before it runs.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from flows.cli.options import FILE, snapshot_option

FORMATS = {".csv": "csv", ".json": "json", ".jsonl": "json", ".parquet": "parquet"}


@click.command("sql")
@click.argument("query", required=False)
@click.option("--file", "file", type=click.File(encoding="utf-8"), help="File that holds the query.")
@click.option("--list", "listed", is_flag=True, help="List the names that can be asked, each with its question.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "csv", "json", "parquet"]),
    help="JSON is an object a line.  [default: by the ending of --out, else table]",
)
@click.option("--out", type=FILE, help="File to write, whole or not at all.  [default: stdout]")
@snapshot_option
@click.option("--write", is_flag=True, help="Allow CREATE in memory, and files in the current folder.")
@click.pass_obj
def sql_command(home: Path | None, /, query: str | None, file: Any, listed: bool, **flags: Any) -> None:
    """Run a QUERY over the published snapshot and the ledger, read-only; - reads it from stdin.

    \b
    lorauter sql --list                                            # what can be asked
    lorauter sql "FROM catalog"
    lorauter sql "SELECT reason, adapters FROM rejections" --format csv
    lorauter sql "FROM top_adapters WHERE task = 'sst2'" --out top.parquet
    lorauter sql "SELECT \\"column\\", about FROM columns WHERE \\"table\\" = 'lift'"
    lorauter sql - --format json < mine.sql | jq .adapter

    \b
    Views: catalog, top_adapters, adapter_tasks, lift, coverage, adapter_lift, specialists, generalists, funnel,
    rejections, licences, adapter_formats, scored_formats, freshness, duplicates, cost, rising, views, columns; the
    tables tasks, inputs, best, scores, rungs, adapters, formats, templates, curation, changes, runs, sources; the
    ledger's ledger_*.
    docs/sql.md has what each answers.

    A table shows the first 1,000 rows, and one that is too wide a row at a time. With --write, COPY … TO, CREATE and
    ATTACH work within the current folder; snapshot and ledger stay as they are.
    """
    from flows.cli.sql_output import SqlOptions, answer, list_names
    from flows.home.home import open_home

    out: Path | None = flags["out"]
    form = flags["form"] or FORMATS.get(out.suffix if out else "", "table")
    if form == "parquet" and out is None and sys.stdout.isatty():
        raise click.UsageError("Parquet is not for a terminal: name a file with --out, or pipe it.")
    options = SqlOptions(form, out, flags["write"], flags["snapshot"])
    text = _query(query, file, listed)
    opened = open_home(home=home)
    if text is None:
        list_names(opened, options)
    else:
        answer(opened, text, options)


def _query(query: str | None, file: Any, listed: bool) -> str | None:
    """The one query that is asked; None with --list."""
    if (query is not None) + (file is not None) + listed != 1:
        raise click.UsageError("Give one of QUERY, --file and --list.")
    if listed:
        return None
    if file is not None:
        return str(file.read())
    return sys.stdin.read() if query == "-" else query
