"""The group `lorauter tasks`. Knows: its commands and what they print. Does not know: any work."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import click

from flows.cli.options import endpoint_option
from flows.cli.package_names import metric_option


@click.group("tasks")
def tasks_group() -> None:
    """The tasks that adapters are scored on."""


@tasks_group.command("add")
@click.argument("source")
@click.option("--name", help="One task of this name.  [default: the file's, the folder's or the rows' own]")
@metric_option("--metric", help="Metric.  [default: the rows' own, else exact_match]")
@click.option(
    "--template",
    metavar="NAME|TEXT",
    help="A format that `tasks formats` lists, chat: the base's own, or a text with {input}.  [default: answer]",
)
@click.option("--max-new-tokens", type=int, help="Longest answer.  [default: 8; 50 for FLAN and BIG-Bench Hard]")
@click.option("--domain", help="Group of like tasks that figures are averaged over.")
@click.option("--adapter", help="Repo of the task's own adapter, its oracle.")
@click.option("--input-column", multiple=True, help="Column of the input; several are joined.  [default: input(s)]")
@click.option("--target-column", help="Column of the target.  [default: target(s)]")
@click.option("--options-column", multiple=True, help="Column of a list of options, or one column an option.")
@click.option("--id-column", help="Column that names a row in reports.")
@click.option("--split-column", default="split", show_default=True, help="Column of train, validation or test.")
@click.option("--validation", type=click.IntRange(2), help="Validation examples a task.  [default: all of no split]")
@click.option("--test", type=click.IntRange(0), help="Test examples a task.")
@click.option("--train", type=click.IntRange(0), help="Train examples a task.")
@click.option("--files", multiple=True, help="Files of a folder or data set to read, e.g. 'sst2/*'.")
@click.option("--revision", default="main", show_default=True, help="Of a data set of the hub.")
@click.option("--keep", is_flag=True, help="Report duplicates and leaks, but drop none.")
@click.option("--clusters", type=click.IntRange(1), help="No task labels: k-means over embeddings makes so many tasks.")
@endpoint_option
@click.pass_obj
def tasks_add(home: Path | None, /, source: str, **flags: Any) -> None:
    """Add tasks from SOURCE: a file, a folder, or a data set of the hub (org/name).

    \b
    lorauter tasks add my_tasks/                       # task folders: task.json and validation.jsonl
    lorauter tasks add mine.csv --metric token_f1 --validation 40 --test 100
    lorauter tasks add BIG-Bench-Hard/bbh/ --validation 50
    lorauter tasks add org/qa --input-column question --options-column choices --target-column answerKey
    lorauter tasks add queries.jsonl --clusters 12

    Files are .jsonl, .json, .csv or .parquet with columns input and target; split, options, task, domain and
    metric if you like. In a folder each file is a task, but those named by a split (validation.jsonl,
    test-00000-of-00001.parquet) make one together. Near-empty, repeated and leaking rows are told on stderr.
    """
    from flows import stages
    from flows.home.home import open_home
    from flows.tasks.add import Source, layout_of

    opened = open_home(home=home, endpoint=flags.pop("endpoint"))
    revision, clusters = flags.pop("revision"), flags.pop("clusters")
    asked = Source(source, layout_of(flags), revision, clusters)
    for task in stages.add_tasks(opened, asked, partial(click.echo, err=True)):
        click.echo(f"{task.name}: {len(task.validation)} validation, {len(task.test)} test examples")


@tasks_group.command("list")
@click.pass_obj
def tasks_list(home: Path | None) -> None:
    """List the tasks, one a line: name, metric, examples, content hash."""
    from flows.home.home import open_home
    from warehouse.tasks.folder import stored_tasks

    for task in stored_tasks(open_home(home=home).task_folder):
        click.echo(f"{task.name}\t{task.metric}\t{len(task.validation)}\t{len(task.test)}\t{task.hash}")


@tasks_group.command("formats")
def tasks_formats() -> None:
    """List the prompt formats that --template takes, one a line: name, template and stops as JSON, and a note.

    A template is what a prompt says around its {input}. One that says {instruction} too has a note: --template refuses
    its name. Write what to do in place of {instruction}, and give that text to --template.
    """
    import json

    from catalog.formats.format import INSTRUCTION
    from catalog.formats.table import formats

    for name, one in formats().items():
        needs = one.needs_instruction
        note = [f"not by its name: give this text, with what to do in place of {INSTRUCTION}"] if needs else []
        texts = (one.template(instruction=INSTRUCTION if needs else ""), one.stops, *note)
        click.echo("\t".join([name, *(json.dumps(text, ensure_ascii=False) for text in texts)]))


@tasks_group.command("remove")
@click.argument("names", nargs=-1, required=True)
@click.pass_obj
def tasks_remove(home: Path | None, names: tuple[str, ...]) -> None:
    """Remove tasks. Their outputs stay in the ledger; the next publish leaves them out."""
    from flows.home.home import open_home
    from warehouse.tasks.folder import remove_task

    folder = open_home(home=home).task_folder
    for name in names:
        remove_task(folder, name)
        click.echo(f"{name} removed.", err=True)
