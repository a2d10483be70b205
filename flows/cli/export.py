"""The command `lorauter export`. Knows: its flags and what it prints. Does not know: any work."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from flows.cli.options import (
    FILE,
    PATH,
    decoding_options,
    prompt_options,
    routing_given,
    routing_options,
    sampling_of,
    stops_given,
)
from flows.cli.package_names import composition_option, router_option


@click.command("export")
@click.option("--in", "source", type=PATH, required=True, help="Queries: .jsonl, .csv or .parquet, column input.")
@click.option("--out", type=FILE, required=True, help="File of requests to write, JSON lines.")
@click.option("--for", "engine", type=click.Choice(["vllm", "lorax"]), required=True, help="Engine that shall answer.")
@click.option("--adapters", type=PATH, help="Folder for adapters that must be written.  [default: beside OUT]")
@router_option("--router", default="lorauter", show_default=True, help="One of those that `answer --help` lists.")
@routing_options
@composition_option("--compose", default="selection", show_default=True, help="How a route becomes one adapter.")
@prompt_options
@decoding_options
@click.pass_obj
def export_command(home: Path | None, /, source: Path, out: Path, engine: str, **flags: Any) -> None:
    """Write a file of queries as requests to vLLM or LoRAX, each with the adapter of its route. Nothing is sent.

    \b
    lorauter export --in queries.jsonl --out requests.jsonl --for vllm > start.sh
    lorauter export --in queries.jsonl --out requests.jsonl --for lorax --compose cat --adapters /srv/adapters

    A line of OUT is {"custom_id": the query's id, "method": "POST", "url": …, "body": …}, as in OpenAI's batch files.
    On stdout comes, for vllm, the command that starts a server with the adapters; for lorax a line an adapter: name,
    folder, rank. The server must see the folders under the same paths.

    Both engines apply one adapter a request. --compose selection (top-1) needs no new folders; cat writes each
    distinct mixture as one adapter of rank Σr, about one a row; other merges write a folder each too.

    The stops of the prompt format that a row is asked in are sent, a line's end is not: theirs ends a text at leading
    blanks too. Cut what comes back with lorauter.engine.stopping.cut_at_stop. --stop sends other stops, --stop '' none.
    A row that cannot be served is told and left out. docs/export.md has the rest.
    """
    from flows import stages
    from flows.answer.export import ExportOptions
    from flows.home.home import open_home
    from lorauter.engine.decoding import decoding_of
    from warehouse.queries.queries import read_queries

    opened = open_home(home=home)
    next(read_queries(source))  # a file that cannot be read is better told before an encoder is loaded
    opened = open_home(home=home, routing=routing_given(opened.settings.routing, flags))
    given = stops_given(flags)
    options = ExportOptions(
        engine=engine,
        adapters=flags["adapters"] or out.with_name(f"{out.name}.adapters"),
        router=flags["router"],
        compose=flags["compose"],
        density=flags["density"],
        template=flags["template"],
        decoding=decoding_of(sampling_of(flags)),
        stop=None if given is None else tuple(one for one in given if one),
        max_new_tokens=flags["max_new_tokens"],
    )
    exported = stages.export(opened, source, out, options, flags["snapshot"])
    told = [exported.start] if exported.start else [f"{a.name}\t{a.folder}\t{a.rank}" for a in exported.adapters]
    for line in told:
        click.echo(line)
    left = f", {exported.left_out} queries left out" if exported.left_out else ""
    click.echo(f"{exported.requests} requests in {out}, {len(exported.adapters)} adapters{left}.", err=True)
