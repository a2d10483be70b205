"""The command `lorauter crawl`. Knows: its flags and what it prints. Does not know: any work."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from flows.cli.options import bases_given, bases_option, endpoint_option
from flows.cli.running import leave_on_interrupt


@click.command("crawl")
@bases_option
@endpoint_option
@click.option("--author", "authors", multiple=True, help="Adapters of a user or an organisation. May be repeated.")
@click.option("--tag", "tags", multiple=True, help="Adapters with a tag. May be repeated.")
@click.option("--repos", type=click.File(), help="File of repo ids, one a line; - reads them from stdin.")
@click.option("--full", is_flag=True, help="List every page, and find what has gone, even if no sweep is due.")
@click.pass_obj
def crawl_command(
    home: Path | None,
    bases: tuple[str, ...],
    endpoint: str | None,
    authors: tuple[str, ...],
    tags: tuple[str, ...],
    repos: Any,
    full: bool,
) -> None:
    """List adapters on the hub into the ledger: those of each base (and of its copies and quantised twins), of
    authors, with tags, or single repos.

    \b
    lorauter crawl --base meta-llama/Llama-2-7b-hf
    lorauter crawl --author ann --tag medical
    lorauter crawl --repos ids.txt

    Only what changed since the last crawl is listed; every LORAUTER_SWEEP_DAYS days everything, to find what has
    been deleted, renamed or made private. A crawl that was stopped goes on at its page. Once authors, tags or repos
    are named, bases are listed only if named too. Adapters found by author, tag or repo are judged for the base
    that each names.
    """
    from flows import stages
    from flows.home.home import open_home

    leave_on_interrupt()
    targets = [f"author:{name}" for name in authors] + [f"tag:{name}" for name in tags]
    targets += [f"repo:{line.strip()}" for line in repos or () if line.strip() and not line.startswith("#")]
    opened = open_home(home=home, **bases_given(bases), endpoint=endpoint, targets=targets or None)
    done = stages.crawl(opened, full, with_bases=bool(bases) or not targets)
    gone = f", {done.gone} gone" if done.gone else ""
    click.echo(f"{done.listed} repos listed{gone}.")
    if done.failed:
        sys.exit(1)
