"""The command `lorauter refresh`. Knows: its flags and what it prints. Does not know: any work."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from flows.cli.options import bases_given, bases_option, endpoint_option, force_option, strategy_option
from flows.cli.running import begin_with_prefect


@click.command("refresh")
@bases_option
@endpoint_option
@strategy_option
@click.option("--config", help="Settings file, or the name of a preset.  [env: LORAUTER_CONFIG]")
@force_option
@click.option("--plan", is_flag=True, help="Tell what it will take, and start nothing.")
@click.option("--format", "form", type=click.Choice(["table", "json"]), default="table", help="Of --plan.")
@click.pass_obj
def refresh_command(
    home: Path | None, /, bases: tuple[str, ...], config: str | None, force: str, plan: bool, form: str, **flags: Any
) -> None:
    """Crawl, validate, score and publish: the Prefect flow `refresh`, here and now.

    \b
    lorauter refresh --base org/model
    lorauter refresh --config llama-2-7b-flan48 --plan     # requests, bytes, evaluations, GPU hours, disk
    lorauter refresh --config mine.toml

    --plan makes no request. What ledger and tasks know is counted, the rest assumed (table [plan] of the settings).
    """
    from warehouse.tasks.folder import stored_tasks

    if config:
        from flows.home.presets import config_file

        os.environ["LORAUTER_CONFIG"] = str(config_file(config))  # the flow and its shards read it too
    if plan:
        _tell_forecast(home, {**bases_given(bases), **flags}, form)
        return
    from flows.home.home import open_home

    opened = open_home(home=home, **bases_given(bases), **flags)
    stored_tasks(opened.task_folder)  # a missing task is better told before an hour of crawling
    begin_with_prefect(opened.root)
    from flows.refresh import refresh as flow

    outcome = flow(opened.reference, force)
    click.echo(outcome["folder"])


def _tell_forecast(home: Path | None, overrides: dict[str, Any], form: str) -> None:
    from flows import stages
    from flows.home.home import Home
    from flows.home.settings import load_settings
    from flows.plan.table import as_json, show
    from flows.screen.screen import Screen

    opened = Home(load_settings(home=home, **overrides))  # not open_home: a folder would be made
    figures = stages.forecast(opened)
    if form == "json":
        click.echo(as_json(opened.settings.base, figures))
    else:
        show(opened.settings.base, figures, Screen())
