"""The command `lorauter route`. Knows: its flags and what it prints. Does not know: any work."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from flows.cli.options import routing_given, routing_options
from flows.cli.package_names import router_option


@click.command("route")
@click.argument("text")
@router_option("--router", default="lorauter", show_default=True, help="One of those that `answer --help` lists.")
@routing_options
@click.option("--task", help="The true task of TEXT, for the router oracle.")
@click.option("--explain", is_flag=True, help="Tasks, adapters with score and lift, and why others lost.")
@click.option("--format", "form", type=click.Choice(["table", "json"]), default="table", show_default=True)
@click.pass_obj
def route_command(home: Path | None, /, text: str, **flags: Any) -> None:
    """Show which adapters would answer TEXT, and with what weights; - reads texts from stdin, one a line.

    \b
    lorauter route "Who wrote this letter?" --explain
    lorauter route "Who wrote this letter?" --licence mit --licence apache-2.0 --max-bytes 50MB --not-author ann
    lorauter route - --format json < texts.txt

    A task whose adapter does not pass --licence, --max-bytes, --author or --not-author takes its next best that does,
    else the base. --format json gives one object a text with all that --explain tells. docs/route.md has the rest.
    """
    from flows import stages
    from flows.answer.route_texts import RouteOptions
    from flows.home.home import open_home

    options = RouteOptions(flags["router"], flags["task"], flags["explain"], flags["form"], many=text == "-")
    lines = click.open_file("-", "r", "utf-8", "replace") if options.many else [text]
    opened = open_home(home=home)
    opened = open_home(home=home, routing=routing_given(opened.settings.routing, flags))
    texts = (line.strip() for line in lines if line.strip())
    stages.route(opened, texts, options, sys.stdout, flags["snapshot"])
