"""The command `lorauter evaluate`: its flags and their help.

Knows: flags, what they mean for flows/evaluate. Does not know: any work; imports nothing heavy before it runs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from flows.cli.options import FILE, PATH, routing_given, routing_options
from flows.cli.package_names import composition_option, router_option


class _Names(click.ParamType[Any]):
    """Names with commas between them."""

    name = "name,…"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        """The names, each once, in order."""
        given = value.split(",") if isinstance(value, str) else value
        return tuple(dict.fromkeys(name.strip() for name in given if name.strip()))


@click.command("evaluate")
@click.option("--tasks", type=_Names(), default="", help="Tasks to judge on.  [default: all that have test examples]")
@router_option(
    "--routers",
    type=_Names(),
    default="lorauter,discriminant,uniform,random,oracle,base",
    show_default=True,
    help="Routers to judge; the oracle always runs.",
)
@composition_option(
    "--compositions",
    type=_Names(),
    default="own",
    show_default=True,
    help="As for `answer --compose`, or own: those that each router was published with.",
)
@click.option("--settings", type=_Names(), default="non-ood,semi-ood,ood", show_default=True, help="See above.")
@click.option("--items", type=click.IntRange(1), help="Most test examples a task, its first.  [default: all]")
@click.option(
    "--reference", help="ROUTER or ROUTER+COMPOSITION that others are compared with.  [default: lorauter+mixture]"
)
@routing_options
@click.option("--out", type=PATH, help="Folder to write.  [default: HOME/evaluations/<hash of what was asked>]")
@click.option("--json", "json_file", type=FILE, help="File for the figures too; - is stdout, in place of the tables.")
@click.pass_obj
def evaluate_command(home: Path | None, /, out: Path | None, json_file: Path | None, **flags: Any) -> None:
    """Judge routers × compositions × settings on the tasks' held-back test examples.

    \b
    lorauter evaluate --items 5                                    # a first look
    lorauter evaluate
    lorauter evaluate --routers lorauter,uniform --compositions mixture,cat,ties --settings ood
    lorauter evaluate --reference base --json - | jq '.systems[] | [.setting, .router, .share.value]'

    \b
    non-ood   all tasks, all adapters
    semi-ood  the true task's own adapters (declared, published) are gone; its validation data stays
    ood       the true task gets no weight either

    Figures: the mean over tasks, and its share of the oracle's, the task's own declared adapter: method ÷ oracle by
    domain, then the mean over domains. [95% intervals] are over test items, paired.

    Answers are kept: the same command makes none again, a further router only those that no other has asked for, and
    a run that was killed goes on. An answer that a composition refuses scores 0 and is told. In the folder:
    evaluation.json, items.parquet (a row an answer), evaluation.svg. docs/evaluate.md has the rest.
    """
    from flows.evaluate.evaluate import EvaluateOptions
    from flows.evaluate.figures import as_json, report_of, store
    from flows.evaluate.table import show
    from flows.home.home import open_home
    from flows.screen.screen import Screen
    from flows.stages import evaluate
    from warehouse.storage.files import write_text

    opened = open_home(home=home)
    opened = open_home(home=home, routing=routing_given(opened.settings.routing, flags))
    names = ("routers", "compositions", "settings", "tasks", "items", "reference")
    options = EvaluateOptions(**{name: flags[name] for name in names})
    evaluation = evaluate(opened, options, snapshot=flags["snapshot"])
    report = report_of(evaluation)
    folder = out or opened.root / "evaluations" / evaluation.name
    store(evaluation, report, folder)
    if json_file == Path("-"):
        click.echo(as_json(report), nl=False)
    else:
        show(report, Screen())
        if json_file:
            write_text(json_file, as_json(report))
    click.echo(f"{sum(cost.new for cost in evaluation.costs.values())} new answers. All is in {folder}.", err=True)
