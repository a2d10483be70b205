"""The command `lorauter validate`. Knows: its flags and what it prints. Does not know: any work."""

from __future__ import annotations

from pathlib import Path

import click

from flows.cli.options import FILE, FOLDER, bases_given, bases_option, endpoint_option
from flows.cli.running import leave_on_interrupt


@click.command("validate")
@bases_option
@endpoint_option
@click.option("--headers-only", is_flag=True, help="Download nothing: judge from config and header alone.")
@click.option("--folder", type=FOLDER, help="Judge a folder of adapter repos instead, offline; needs no home.")
@click.option("--json", "out", type=FILE, help="With --folder: file for the verdicts; - is stdout.  [default: -]")
@click.option("--base-configs", type=FOLDER, help="With --folder: folder of ORG/NAME/config.json of known bases.")
@click.pass_obj
def validate_command(
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
        from flows.home.settings import load_settings
        from flows.validate.folder import judge_folder, write_verdicts

        settings = load_settings(home=home)
        verdicts = judge_folder(folder, settings.policy, base_configs, settings.aliases)
        write_verdicts(verdicts, out or Path("-"))
        seen, admitted = len(verdicts), sum(verdict.admitted for verdict in verdicts)
        click.echo(f"{seen} adapters seen: {admitted} admitted, {seen - admitted} rejected.", err=True)
        return
    if out or base_configs:
        raise click.UsageError("--json and --base-configs belong to --folder.")
    from flows import stages
    from flows.home.home import open_home

    leave_on_interrupt()
    judged = stages.validate(open_home(home=home, **bases_given(bases), endpoint=endpoint), not headers_only)
    click.echo(f"{judged.seen} adapters seen: {judged.admitted} admitted, {judged.rejected} rejected.")
