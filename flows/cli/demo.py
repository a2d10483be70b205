"""The command `lorauter demo`. Knows: its flags, what is said before and after. Does not know: the demo."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import click

from flows.cli.running import leave_on_interrupt


@click.command("demo")
@click.option("--small", is_flag=True, help="Three tasks and four adapters only: about a minute.")
@click.pass_obj
def demo_command(home: Path | None, small: bool) -> None:
    """Run the whole thread on real weights, from crawl to routed answers, on a hub of its own.

    Writes demo.json to the home folder. A second run repeats no request and no evaluation.
    """
    from flows.home.settings import load_settings

    root = load_settings(home=home).home
    root = root / "small" if small else root
    click.echo(f"The demo: crawl, validate, score, publish, route, answer. Home: {root}", err=True)
    from flows.demo.run import QUALITY_SQL, run_demo
    from flows.screen.report import show_demo
    from flows.screen.screen import Screen

    leave_on_interrupt()
    figures = run_demo(root, small)
    show_demo(root, figures, QUALITY_SQL.format(answers=figures["answers"]), Screen())
    _say_what_next(root)


def _say_what_next(root: Path) -> None:
    program = "lorauter" if shutil.which("lorauter") else sys.argv[0]
    prefix = f"{program} --home {root}"
    click.echo("\nNext:")
    for line in ('sql "FROM catalog"', "sql --list", "report --out report.html", "evaluate --items 5", "doctor"):
        click.echo(f"  {prefix} {line}")
    click.echo(f'  {prefix} route "Who gets the parcel that Ann sent to Tom?" --explain')
