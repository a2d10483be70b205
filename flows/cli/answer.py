"""The command `lorauter answer`. Knows: its flags and what it prints. Does not know: any work."""

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
from flows.cli.running import begin_with_prefect


@click.command("answer")
@click.option("--in", "source", type=PATH, required=True, help="Queries: .jsonl, .csv or .parquet, column input.")
@click.option("--out", type=FILE, required=True, help="Parquet file to write.")
@router_option(
    "--router", "routers", multiple=True, default=["lorauter"], show_default=True, help="See above. May be repeated."
)
@routing_options
@composition_option("--compose", default="mixture", show_default=True, help="How a route's adapters are put together.")
@prompt_options
@decoding_options
@click.pass_obj
def answer_command(
    home: Path | None, /, source: Path, out: Path, routers: tuple[str, ...], compose: str, **flags: Any
) -> None:
    """Route and answer a file of queries: the Prefect flow `answer_batch`, here and now.

    \b
    lorauter answer --in queries.jsonl --out answers.parquet
    lorauter answer --in queries.csv --out answers.parquet --router lorauter --router base --template chat
    lorauter answer --in queries.jsonl --out drawn.parquet --sample-temperature 0.7 --top-p 0.9 --seed 1
    lorauter answer --in queries.jsonl --out long.parquet --max-new-tokens 256 --stop '###' --stop '\\n\\n'

    Columns of queries: input, and if you like id, task, target, metric, max_new_tokens.

    Two temperatures: --temperature and --top-k belong to the router and weigh adapters; --sample-temperature, --top-p
    and --sample-top-k draw tokens. Without --sample-temperature texts are greedy. A draw depends on the seed and on
    the row's own input, adapters and id, never on other rows.

    Routers: lorauter, discriminant, relatives, vector_database, loraretriever, classifier, clusters (by the query's
    text); logo, logo_entropy, arrow, spectr, lag, seqr (by adapters' weights); lorahub (learned mixtures); dlp_lora,
    two_stage, meteora, ramole, lora_flow, mhr, poly (trained: `lorauter fit`); polar (learns from `lorauter feedback`);
    and the controls uniform, random, oracle (needs column task) and base. docs/routers.md tells what each needs.

    Compositions: mixture (of outputs: exact), selection (the heaviest adapter alone), cat, linear, fusion, ties,
    magnitude_prune, dare_linear, dare_ties (one merged adapter; docs/decisions/0011-compositions.md).

    A row with a fault carries it in column error, and the rest goes on. Killed, the same command goes on where it was;
    with other flags it begins anew and mixes nothing. docs/answer.md tells all columns.
    """
    from flows.answer.options import AnswerOptions
    from flows.home.home import open_home
    from lorauter.engine.decoding import decoding_of
    from warehouse.queries.queries import read_queries

    opened = open_home(home=home)
    next(read_queries(source))  # a file that cannot be read is better told before a model is loaded
    density, sampling, stop = flags["density"], sampling_of(flags), stops_given(flags)
    bound = flags["max_new_tokens"]
    # and so are a wrong name and a wrong number
    AnswerOptions(routers, flags["template"], compose, density, decoding_of(sampling), stop, bound)
    begin_with_prefect(opened.root)
    from flows.answer_batch import answer_batch

    outcome = answer_batch(
        queries=str(source),
        out=str(out),
        routers=list(routers),
        snapshot=flags["snapshot"],
        template=flags["template"],
        compose=compose,
        density=density,
        settings={**opened.reference, "routing": routing_given(opened.settings.routing, flags)},
        sampling=sampling,
        stop=stop,
        max_new_tokens=bound,
    )
    failed = f", {outcome['failed']} with an error" if outcome["failed"] else ""
    click.echo(f"{outcome['answers']} answers in {out} ({outcome['new']} new{failed}), snapshot {outcome['snapshot']}.")
