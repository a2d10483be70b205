"""The command `lorauter feedback`. Knows: its flags and what it prints. Does not know: any work."""

from __future__ import annotations

from pathlib import Path

import click

from flows.cli.options import PATH


@click.command("feedback")
@click.option("--in", "source", type=PATH, required=True, help="Scores: .jsonl, .csv or .parquet, columns below.")
@click.option("--answers", type=PATH, required=True, help="The file that `lorauter answer --out` wrote.")
@click.pass_obj
def feedback_command(home: Path | None, /, source: Path, answers: Path) -> None:
    """Tell what answers were worth. The router `polar` learns from it.

    \b
    lorauter answer --in queries.jsonl --out answers.parquet --router polar
    lorauter feedback --in scores.csv --answers answers.parquet
    lorauter answer --in more.jsonl --out more.parquet --router polar    # learns first, then answers

    \b
    Columns of scores:
      id        of the query, as in the answers
      score     from 0 to 1; or in its place
      thumbs    up or down
      router    who answered, where several did

    Answers of any router may be scored; `lorauter sql "FROM ledger_feedback"` shows what was told. Only answers of
    `polar` teach it, once each. The same file again changes nothing; a new score for an answer corrects the old one.
    Where a row is wrong nothing is stored, and the error names file and line. docs/polar.md has the rest.
    """
    from flows import stages
    from flows.home.home import open_home

    told = stages.feedback(open_home(home=home), source, answers)
    teaching = f" {told.teaching} of them teach the router polar when it answers next." if told.teaching else ""
    click.echo(f"{told.rows} scores, {told.new} new.{teaching}")
