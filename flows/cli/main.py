"""The command line `lorauter`.

Knows: the commands in their order, exit codes, how errors are told. Does not know: what a command does; each is a file
of this room and imports what it needs when it runs, so `lorauter --help` stays quick.

Results go to stdout, progress and errors to stderr. Exit codes: 0 done, 1 failed with a told cause, 2 wrong use,
130 interrupted.
"""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path

import click

from catalog.errors import LorauterError
from flows.cli.answer import answer_command
from flows.cli.compact import compact_command
from flows.cli.crawl import crawl_command
from flows.cli.curate import curate_group
from flows.cli.demo import demo_command
from flows.cli.diff import diff_command
from flows.cli.doctor import doctor_command
from flows.cli.evaluate import evaluate_command
from flows.cli.export import export_command
from flows.cli.feedback import feedback_command
from flows.cli.fit import fit_command
from flows.cli.hub import hub_group
from flows.cli.options import PATH
from flows.cli.publish import publish_command
from flows.cli.refresh import refresh_command
from flows.cli.report import report_command
from flows.cli.route import route_command
from flows.cli.running import INTERRUPTED, INTERRUPTED_CODE
from flows.cli.score import score_command
from flows.cli.snapshots import snapshots_group
from flows.cli.sql import sql_command
from flows.cli.tasks import tasks_group
from flows.cli.upgrade import upgrade_command
from flows.cli.validate import validate_command
from flows.cli.why import why_command

_DISK_FAULTS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EACCES, errno.EROFS, errno.EPERM)


class _InOrderOfTheWork(click.Group):
    """Lists commands as they were added, not by the alphabet."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)


@click.group(cls=_InOrderOfTheWork, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option("--home", type=PATH, help="Folder for all state. [env: LORAUTER_HOME, default ~/.lorauter]")
@click.version_option(package_name="lorauter")
@click.pass_context
def cli(ctx: click.Context, home: Path | None) -> None:
    """Crawl, validate and score public LoRA adapters; query the catalog with SQL; route and answer with it.

    \b
    Try first:      lorauter demo
    Then your own:  lorauter tasks add my_tasks/ && lorauter refresh --base org/model
    """
    ctx.obj = home


for _command in (
    demo_command,
    crawl_command,
    validate_command,
    tasks_group,
    score_command,
    publish_command,
    fit_command,
    refresh_command,
    why_command,
    sql_command,
    route_command,
    answer_command,
    feedback_command,
    export_command,
    evaluate_command,
    report_command,
    compact_command,
    curate_group,
    snapshots_group,
    diff_command,
    upgrade_command,
    hub_group,
    doctor_command,
):
    cli.add_command(_command)


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
        click.echo(INTERRUPTED, err=True)
        sys.exit(INTERRUPTED_CODE)
    except BrokenPipeError:
        sys.stderr.close()  # the reader has gone; nothing is wrong
        sys.exit(0)
    except OSError as error:
        if error.errno not in _DISK_FAULTS:
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
