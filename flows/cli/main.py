"""The command line `lorauter`.

Knows: commands, their help, exit codes, how errors are told. Does not know: any work; each command imports
what it needs when it runs, so `lorauter --help` stays quick.

Results go to stdout, progress and errors to stderr. Exit codes: 0 done, 1 failed with a told cause, 2 wrong use,
130 interrupted.
"""

from __future__ import annotations

import errno
import os
import shutil
import sys
from functools import partial
from pathlib import Path
from typing import Any

import click

from catalog.errors import LorauterError
from flows.cli.answer_options import (
    PATH,
    decoding_options,
    prompt_options,
    routing_given,
    routing_options,
    sampling_of,
    stops_given,
)
from flows.cli.compact import compact_command
from flows.cli.curate import curate_group
from flows.cli.evaluate import evaluate_command
from flows.cli.report import report_command
from flows.cli.snapshots import diff_command, snapshots_group
from flows.cli.sql import sql_command
from flows.cli.upgrade import upgrade_command

_PATH = PATH
_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
_bases = click.option("--base", "bases", multiple=True, help="Base model id, e.g. org/model. May be repeated.")
_strategy = click.option(
    "--strategy",
    type=click.Choice(["racing", "halving", "exhaustive"]),
    help="Which evaluations to run: adapters race the leader, halve rung by rung, or meet every example."
    "  [default: racing]",
)
_force = click.option(
    "--force", metavar="REASON", default="", help="Publish even a much worse catalog; the reason is kept."
)
_endpoint = click.option("--endpoint", help="Address of the hub.  [default: the public Hub]")
_INTERRUPTED = "\nInterrupted. What was finished is kept; run the same command to go on."
_INTERRUPTED_CODE = 130


class _Commands(click.Group):
    """Lists commands in the order of the work, not of the alphabet."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option("--home", type=_PATH, help="Folder for all state. [env: LORAUTER_HOME, default ~/.lorauter]")
@click.version_option(package_name="lorauter")
@click.pass_context
def cli(ctx: click.Context, home: Path | None) -> None:
    """Crawl, validate and score public LoRA adapters; query the catalog with SQL; route and answer with it.

    \b
    Try first:      lorauter demo
    Then your own:  lorauter tasks add my_tasks/ && lorauter refresh --base org/model
    """
    ctx.obj = home


@cli.command()
@click.option("--small", is_flag=True, help="Three tasks and four adapters only: about a minute.")
@click.pass_obj
def demo(home: Path | None, small: bool) -> None:
    """Run the whole thread on real weights, from crawl to routed answers, on a hub of its own.

    Writes demo.json to the home folder. A second run repeats no request and no evaluation.
    """
    from flows.home.settings import load_settings

    root = load_settings(home=home).home
    root = root / "small" if small else root
    _say_what_comes(root)
    from flows.demo.run import QUALITY_SQL, run_demo
    from flows.prefect_runtime.interrupt import leave_at_once_on_interrupt
    from flows.screen.report import show_demo
    from flows.screen.screen import Screen

    leave_at_once_on_interrupt(_INTERRUPTED, _INTERRUPTED_CODE)
    figures = run_demo(root, small)
    show_demo(root, figures, QUALITY_SQL.format(answers=figures["answers"]), Screen())
    _say_what_next(root)


@cli.command()
@_bases
@_endpoint
@click.option("--author", "authors", multiple=True, help="Adapters of a user or an organisation. May be repeated.")
@click.option("--tag", "tags", multiple=True, help="Adapters with a tag. May be repeated.")
@click.option("--repos", type=click.File(), help="File of repo ids, one a line; - reads them from stdin.")
@click.option("--full", is_flag=True, help="List every page, and find what has gone, even if no sweep is due.")
@click.pass_obj
def crawl(
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

    _stop_at_once()
    targets = [f"author:{name}" for name in authors] + [f"tag:{name}" for name in tags]
    targets += [f"repo:{line.strip()}" for line in repos or () if line.strip() and not line.startswith("#")]
    opened = _home(home, **_named(bases), endpoint=endpoint, targets=targets or None)
    done = stages.crawl(opened, full, with_bases=bool(bases) or not targets)
    gone = f", {done.gone} gone" if done.gone else ""
    click.echo(f"{done.listed} repos listed{gone}.")
    if done.failed:
        sys.exit(1)


@cli.command()
@_bases
@_endpoint
@click.option("--headers-only", is_flag=True, help="Download nothing: judge from config and header alone.")
@click.option("--folder", type=_FOLDER, help="Judge a folder of adapter repos instead, offline; needs no home.")
@click.option("--json", "out", type=_PATH, help="With --folder: file for the verdicts; - is stdout.  [default: -]")
@click.option("--base-configs", type=_FOLDER, help="With --folder: folder of ORG/NAME/config.json of known bases.")
@click.pass_obj
def validate(
    home: Path | None,
    bases: tuple[str, ...],
    endpoint: str | None,
    headers_only: bool,
    folder: Path | None,
    out: Path | None,
    base_configs: Path | None,
) -> None:
    """Judge every listed adapter; download and check those that are admitted.

    The config and the weights' header are read before any download. Each rejection has a named reason:
    `lorauter why REPO` tells it. Rules or policy that changed judge again what is stored, without a request.

    \b
    lorauter validate --base meta-llama/Llama-2-7b-hf
    lorauter validate --folder checkouts/ --json verdicts.json
    """
    if folder is not None:
        from flows.validate.folder import judge_folder, write_verdicts

        settings = _settings(home)
        verdicts = judge_folder(folder, settings.policy, base_configs, settings.aliases)
        write_verdicts(verdicts, out or Path("-"))
        admitted = sum(verdict.admitted for verdict in verdicts)
        click.echo(
            f"{len(verdicts)} adapters seen: {admitted} admitted, {len(verdicts) - admitted} rejected.", err=True
        )
        return
    if out or base_configs:
        raise click.UsageError("--json and --base-configs belong to --folder.")
    from flows import stages

    _stop_at_once()
    judged = stages.validate(_home(home, **_named(bases), endpoint=endpoint), not headers_only)
    click.echo(f"{judged.seen} adapters seen: {judged.admitted} admitted, {judged.rejected} rejected.")


@cli.group()
def tasks() -> None:
    """The tasks that adapters are scored on."""


@tasks.command("add")
@click.argument("source")
@click.option("--name", help="One task of this name.  [default: the file's, the folder's or the rows' own]")
@click.option("--metric", help="Metric.  [default: the rows' own, else exact_match]")
@click.option("--template", help="Prompt template with {input}, or alpaca or plain.  [default: {input} and Answer:]")
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
@_endpoint
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
    from flows.tasks.add import Source, layout_of

    opened = _home(home, endpoint=flags.pop("endpoint"))
    revision, clusters = flags.pop("revision"), flags.pop("clusters")
    asked = Source(source, layout_of(flags), revision, clusters)
    for task in stages.add_tasks(opened, asked, partial(click.echo, err=True)):
        click.echo(f"{task.name}: {len(task.validation)} validation, {len(task.test)} test examples")


@tasks.command("list")
@click.pass_obj
def tasks_list(home: Path | None) -> None:
    """List the tasks, one a line: name, metric, examples, content hash."""
    for task in _home(home).tasks():
        click.echo(f"{task.name}\t{task.metric}\t{len(task.validation)}\t{len(task.test)}\t{task.hash}")


@tasks.command("remove")
@click.argument("names", nargs=-1, required=True)
@click.pass_obj
def tasks_remove(home: Path | None, names: tuple[str, ...]) -> None:
    """Remove tasks. Their outputs stay in the ledger; the next publish leaves them out."""
    from warehouse.tasks.folder import remove_task

    folder = _home(home).task_folder
    for name in names:
        remove_task(folder, name)
        click.echo(f"{name} removed.", err=True)


@cli.command()
@click.option("--base", help="Base model id.")
@click.option("--endpoint", help="Address of the hub.")
@_strategy
@click.pass_obj
def score(home: Path | None, base: str | None, endpoint: str | None, strategy: str | None) -> None:
    """Score the admitted adapters on every task. No output is made twice.

    All meet a few examples of every task; who may still win goes on, rung by rung. What a name and a card say, and
    how an adapter does on other tasks, decides how long it is believed in. New adapters race the known leaders;
    `lorauter why REPO` tells where and why an adapter was dropped.
    """
    from flows import stages

    _stop_at_once()
    opened = _home(home, base=base, endpoint=endpoint, strategy=strategy)
    scores = stages.score(opened, stages.read_base(opened))
    for found in scores.tasks:
        click.echo(f"{found.task.name}\t{found.best or '(base)'}")
    click.echo(f"{scores.spent} evaluations, {scores.new} new; exhaustive: {scores.exhaustive}.", err=True)


@cli.command()
@click.option("--base", help="Base model id.")
@click.option("--endpoint", help="Address of the hub.")
@_strategy
@_force
@click.option("--with-weights", is_flag=True, default=None, help="The published adapters' files travel with it.")
@click.pass_obj
def publish(home: Path | None, /, force: str, **flags: Any) -> None:
    """Freeze the scored catalog as an immutable snapshot and make it the current one.

    What people decided is honoured (`lorauter curate`). A catalog that covers fewer tasks, or lifts less, than the
    published one by more than LORAUTER_GATE__COVERAGE_FALL or LORAUTER_GATE__LIFT_FALL is refused.
    """
    from flows import stages
    from flows.publish.run_record import Run

    _stop_at_once()
    opened, run = _home(home, **flags), Run.begin("publish")
    judged = stages.read_base(opened)
    scores = stages.score(opened, judged)
    click.echo(stages.publish(opened, judged, scores, run, force).folder)


@cli.command()
@_bases
@_endpoint
@_strategy
@click.option("--config", help="Settings file, or the name of a preset.  [env: LORAUTER_CONFIG]")
@_force
@click.option("--plan", is_flag=True, help="Tell what it will take, and start nothing.")
@click.option("--format", "form", type=click.Choice(["table", "json"]), default="table", help="Of --plan.")
@click.pass_obj
def refresh(
    home: Path | None, /, bases: tuple[str, ...], config: str | None, force: str, plan: bool, form: str, **flags: Any
) -> None:
    """Crawl, validate, score and publish: the Prefect flow `refresh`, here and now.

    \b
    lorauter refresh --base org/model
    lorauter refresh --config llama-2-7b-flan48 --plan     # requests, bytes, evaluations, GPU hours, disk
    lorauter refresh --config mine.toml

    --plan makes no request. What ledger and tasks know is counted, the rest assumed (table [plan] of the settings).
    """
    if config:
        from flows.home.presets import config_file

        os.environ["LORAUTER_CONFIG"] = str(config_file(config))  # the flow and its shards read it too
    if plan:
        _tell_forecast(home, {**_named(bases), **flags}, form)
        return
    opened = _home(home, **_named(bases), **flags)
    opened.tasks()  # a missing task is better told before an hour of crawling
    _prepare_prefect(opened.root)
    from flows.refresh import refresh as flow

    outcome = flow(opened.reference, force)
    click.echo(outcome["folder"])


@cli.command()
@click.argument("repo")
@click.pass_obj
def why(home: Path | None, repo: str) -> None:
    """Tell why REPO (org/name or org/name:folder) was admitted or rejected, with the evidence."""
    from flows import stages

    for line in stages.why(_home(home), repo):
        click.echo(line)


cli.add_command(sql_command)


@cli.command()
@click.argument("text")
@click.option("--router", default="lorauter", show_default=True, help="One of those that `answer --help` lists.")
@routing_options
@click.option("--task", help="The true task of TEXT, for the router oracle.")
@click.option("--explain", is_flag=True, help="Tasks, adapters with score and lift, and why others lost.")
@click.option("--format", "form", type=click.Choice(["table", "json"]), default="table", show_default=True)
@click.pass_obj
def route(home: Path | None, /, text: str, **flags: Any) -> None:
    """Show which adapters would answer TEXT, and with what weights; - reads texts from stdin, one a line.

    \b
    lorauter route "Who wrote this letter?" --explain
    lorauter route "Who wrote this letter?" --licence mit --licence apache-2.0 --max-bytes 50MB --not-author ann
    lorauter route - --format json < texts.txt

    A task whose adapter does not pass --licence, --max-bytes, --author or --not-author takes its next best that does,
    else the base. --format json gives one object a text with all that --explain tells. docs/route.md has the rest.
    """
    from flows.answer.route_texts import RouteOptions, tell_routes

    asked = {name: flags[name] for name in ("router", "snapshot", "task", "explain", "form")}
    options = RouteOptions(**asked, many=text == "-")
    lines = click.open_file("-", "r", "utf-8", "replace") if options.many else [text]
    opened = _home(home)
    opened = _home(home, routing=routing_given(opened.settings.routing, flags))
    tell_routes(opened, (line.strip() for line in lines if line.strip()), options, sys.stdout)


@cli.command()
@click.option("--in", "source", type=_PATH, required=True, help="Queries: .jsonl, .csv or .parquet, column input.")
@click.option("--out", type=_PATH, required=True, help="Parquet file to write.")
@click.option(
    "--router", "routers", multiple=True, default=["lorauter"], show_default=True, help="See above. May be repeated."
)
@routing_options
@click.option("--compose", default="mixture", show_default=True, help="How a route's adapters are put together.")
@prompt_options
@decoding_options
@click.pass_obj
def answer(home: Path | None, /, source: Path, out: Path, routers: tuple[str, ...], compose: str, **flags: Any) -> None:
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
    text); logo, logo_entropy, arrow, spectr, lag, seqr (by adapters' weights); lorahub (learned mixtures); and the
    controls uniform, random, oracle (needs column task) and base. docs/add-a-router.md tells what each needs.

    Compositions: mixture (of outputs: exact), selection (the heaviest adapter alone), cat, linear, fusion, ties,
    magnitude_prune, dare_linear, dare_ties (one merged adapter; docs/decisions/0011-compositions.md).

    A row with a fault carries it in column error, and the rest goes on. Killed, the same command goes on where it was;
    with other flags it begins anew and mixes nothing. docs/answer.md tells all columns.
    """
    from flows.answer.checks import checked_answers
    from warehouse.queries.queries import read_queries

    opened = _home(home)
    next(read_queries(source))  # a file that cannot be read is better told before a model is loaded
    asked = {"sampling": sampling_of(flags), "stop": stops_given(flags), "max_new_tokens": flags["max_new_tokens"]}
    checked_answers(routers, compose, flags["density"], **asked)  # and a wrong name before Prefect starts
    _prepare_prefect(opened.root)
    from flows.answer_batch import answer_batch

    outcome = answer_batch(
        str(source),
        str(out),
        list(routers),
        flags["snapshot"],
        flags["template"],
        compose,
        flags["density"],
        {**opened.reference, "routing": routing_given(opened.settings.routing, flags)},
        **asked,
    )
    failed = f", {outcome['failed']} with an error" if outcome["failed"] else ""
    click.echo(f"{outcome['answers']} answers in {out} ({outcome['new']} new{failed}), snapshot {outcome['snapshot']}.")


@cli.command("export")
@click.option("--in", "source", type=_PATH, required=True, help="Queries: .jsonl, .csv or .parquet, column input.")
@click.option("--out", type=_PATH, required=True, help="File of requests to write, JSON lines.")
@click.option("--for", "engine", type=click.Choice(["vllm", "lorax"]), required=True, help="Engine that shall answer.")
@click.option("--adapters", type=_PATH, help="Folder for adapters that must be written.  [default: beside OUT]")
@click.option("--router", default="lorauter", show_default=True, help="One of those that `answer --help` lists.")
@routing_options
@click.option("--compose", default="selection", show_default=True, help="How a route becomes one adapter.")
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

    No stop is sent unless --stop gives one: theirs ends a text at leading blanks too. Cut what comes back with
    lorauter.engine.stopping.cut_at_stop. A row that cannot be served is told and left out. docs/export.md has the rest.
    """
    from flows.answer.export import ExportOptions, export_requests
    from lorauter.engine.decoding import decoding_of
    from warehouse.queries.queries import read_queries

    opened = _home(home)
    next(read_queries(source))  # a file that cannot be read is better told before an encoder is loaded
    opened = _home(home, routing=routing_given(opened.settings.routing, flags))
    options = ExportOptions(
        engine=engine,
        adapters=flags["adapters"] or out.with_name(f"{out.name}.adapters"),
        router=flags["router"],
        compose=flags["compose"],
        density=flags["density"],
        template=flags["template"],
        decoding=decoding_of(sampling_of(flags)),
        stop=tuple(one for one in stops_given(flags, ()) if one),
        max_new_tokens=flags["max_new_tokens"],
    )
    exported = export_requests(opened, source, out, options, flags["snapshot"])
    told = [exported.start] if exported.start else [f"{a.name}\t{a.folder}\t{a.rank}" for a in exported.adapters]
    for line in told:
        click.echo(line)
    left = f", {exported.left_out} queries left out" if exported.left_out else ""
    click.echo(f"{exported.requests} requests in {out}, {len(exported.adapters)} adapters{left}.", err=True)


cli.add_command(evaluate_command)
cli.add_command(report_command)
cli.add_command(compact_command)
cli.add_command(curate_group)
cli.add_command(snapshots_group)
cli.add_command(diff_command)
cli.add_command(upgrade_command)


@cli.group()
def hub() -> None:
    """A mirror of the Hub."""


@hub.command("serve")
@click.argument("folder", type=_PATH)
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", default=8321, show_default=True, help="0 picks a free one.")
@click.option("--limits/--no-limits", default=True, show_default=True, help="Refuse what the Hub's windows refuse.")
def hub_serve(folder: Path, host: str, port: int, limits: bool) -> None:
    """Serve FOLDER (ORG/NAME/files) with the Hub's own routes and limits, until Ctrl-C.

    \b
    lorauter hub serve /data/mirror
    HF_ENDPOINT=http://127.0.0.1:8321 hf download org/name
    """
    from flows.mirror.server import serve

    serve(folder, host, port, lambda line: click.echo(line, err=True), limits=limits)


@cli.command()
@click.pass_obj
def doctor(home: Path | None) -> None:
    """Check endpoint, token, disk, devices and versions, and say what to do. Exit code 1 if anything fails."""
    from flows import stages

    checks = stages.examine(_home(home))
    for check in checks:
        click.echo(f"{'ok  ' if check.fine else 'FAIL'} {check.name}: {check.said}")
    if not all(check.fine for check in checks):
        sys.exit(1)


def main() -> None:
    """Run the command line; every known error becomes a paragraph and an exit code."""
    for name in ("HF_HUB_DISABLE_PROGRESS_BARS", "TQDM_DISABLE"):
        os.environ.setdefault(name, "1")  # stages have bars of their own
    try:
        cli(standalone_mode=False)
    except LorauterError as error:
        _fail(error.cause, error.next_step)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo(_INTERRUPTED, err=True)
        sys.exit(_INTERRUPTED_CODE)
    except BrokenPipeError:
        sys.stderr.close()  # the reader has gone; nothing is wrong
        sys.exit(0)
    except OSError as error:
        if error.errno not in (
            errno.ENOSPC,
            errno.EDQUOT,
            errno.EFBIG,
            errno.EACCES,
            errno.EROFS,
            errno.EPERM,
        ):
            raise
        where = f" ({error.filename})" if error.filename else ""
        _fail(
            f"Cannot write: {error.strerror}{where}.",
            "Free some space or set LORAUTER_HOME; nothing is damaged.",
        )


def _fail(cause: str, next_step: str) -> None:
    from flows.screen.screen import printable

    click.echo(printable(f"Error: {cause} {next_step}").strip(), err=True)
    sys.exit(1)


def _home(home: Path | None, **overrides: Any) -> Any:
    from flows.home.home import open_home

    return open_home(home=home, **overrides)


def _settings(home: Path | None) -> Any:
    from flows.home.settings import load_settings

    return load_settings(home=home)


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


def _named(bases: tuple[str, ...]) -> dict[str, Any]:
    """The settings that `--base A --base B` stands for."""
    return {"base": bases[0], "bases": bases[1:]} if bases else {}


def _stop_at_once() -> None:
    """Ctrl-C ends the process without waiting for requests on their way: what came back is in the ledger."""
    from flows.prefect_runtime.interrupt import leave_at_once_on_interrupt

    leave_at_once_on_interrupt(_INTERRUPTED, _INTERRUPTED_CODE)


def _prepare_prefect(root: Path) -> None:
    from flows.prefect_runtime.interrupt import leave_at_once_on_interrupt
    from flows.prefect_runtime.setup import prepare_prefect, start_prefect

    leave_at_once_on_interrupt(_INTERRUPTED, _INTERRUPTED_CODE)
    prepare_prefect(root)
    start_prefect()


def _say_what_comes(root: Path) -> None:
    click.echo(f"The demo: crawl, validate, score, publish, route, answer. Home: {root}", err=True)


def _say_what_next(root: Path) -> None:
    program = "lorauter" if shutil.which("lorauter") else sys.argv[0]
    prefix = f"{program} --home {root}"
    click.echo("\nNext:")
    for line in ('sql "FROM catalog"', "sql --list", "report --out report.html", "evaluate --items 5", "doctor"):
        click.echo(f"  {prefix} {line}")
    click.echo(f'  {prefix} route "Who gets the parcel that Ann sent to Tom?" --explain')
