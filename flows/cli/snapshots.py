"""The group `lorauter snapshots`. Knows: its commands and what they print. Does not know: any work."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from flows.cli.options import snapshot_option


@click.group("snapshots")
def snapshots_group() -> None:
    """The published catalogs: list, verify, go back, make room, upload.

    \b
    lorauter snapshots list
    lorauter snapshots verify --all
    lorauter snapshots rollback 2026-11-20
    lorauter snapshots prune --keep 10 --dry-run
    """


@snapshots_group.command("list")
@click.pass_obj
def snapshots_list(home: Path | None) -> None:
    """List snapshots, oldest first: id, when it was made, bytes, and which is current; columns by tabs."""
    from flows.home.home import open_home
    from warehouse.snapshots.history import kept

    for one in kept(open_home(home=home).snapshots):
        mark = "current" if one.current else f"DAMAGED: {one.problem}" if one.problem else ""
        click.echo(f"{one.id}\t{one.created}\t{one.size}\t{mark}".rstrip("\t"))


@snapshots_group.command("verify")
@click.argument("which", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="Every snapshot that is kept.")
@click.pass_obj
def snapshots_verify(home: Path | None, which: tuple[str, ...], everything: bool) -> None:
    """Compare every file with its checksum; WHICH is an id, its beginning, a date or a folder.  [default: the current]

    Exit code 1 if any is damaged; the file at fault is named.
    """
    from catalog.errors import SnapshotError
    from flows.home.home import open_home
    from flows.screen.progress import stage
    from warehouse.snapshots.history import kept, resolve
    from warehouse.snapshots.manifest import verify

    root = open_home(home=home).snapshots
    folders = [one.folder for one in kept(root)] if everything else [resolve(root, one) for one in which or (None,)]
    lines, damaged = [], False
    with stage("verify", len(folders), "snapshots") as advance:
        for folder in folders:
            try:
                manifest = verify(folder)
                lines.append(f"ok    {manifest['id']}: {len(manifest['files'])} files")
            except SnapshotError as error:
                lines.append(f"FAIL  {folder.name}: {error.cause} {error.next_step}")
                damaged = True
            advance(1)
    for line in lines:
        click.echo(line)
    if damaged:
        sys.exit(1)


@snapshots_group.command("rollback")
@click.argument("which")
@click.pass_obj
def snapshots_rollback(home: Path | None, which: str) -> None:
    """Publish an earlier snapshot again: an id, its beginning, or a date. The next publish publishes what is new."""
    from flows.home.home import open_home
    from warehouse.snapshots.history import rollback

    click.echo(rollback(open_home(home=home).snapshots, which).folder)


@snapshots_group.command("prune")
@click.option("--keep", type=click.IntRange(1), help="Snapshots that were published last, to keep.")
@click.option("--days", type=click.FloatRange(0), help="Keep what was published within so many days.")
@click.option("--dry-run", is_flag=True, help="Tell what would go, and delete nothing.")
@click.pass_obj
def snapshots_prune(home: Path | None, keep: int | None, days: float | None, dry_run: bool) -> None:
    """Delete old snapshots. The current one, and what was published within the last hour, always stay."""
    from flows.home.home import open_home
    from warehouse.snapshots.history import remove, spare

    if keep is None and days is None:
        raise click.UsageError("Say what to keep: --keep N, --days D, or both.")
    going = spare(open_home(home=home).snapshots, keep, days)
    for one in going:
        if not dry_run:
            remove(one)
        click.echo(f"{one.id}\t{one.created}\t{one.size}")
    done = "would go" if dry_run else "removed"
    click.echo(f"{len(going)} {done}, {sum(one.size for one in going):,} bytes.", err=True)


@snapshots_group.command("upload")
@click.argument("repo")
@snapshot_option
@click.option("--private", is_flag=True, help="Make a private data set, where there is none yet.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_obj
def snapshots_upload(home: Path | None, repo: str, snapshot: str | None, private: bool, yes: bool) -> None:
    """Upload a snapshot to the hub as the data set REPO (org/name), in one commit.

    The folder is a data set as it is: README.md is its card, every table a configuration. LORAUTER_TOKEN must be able
    to write.
    """
    from catalog.hub.upload import upload_folder
    from flows.home.home import open_home
    from flows.home.parts import hub_of, snapshot_of
    from warehouse.snapshots.history import size_of
    from warehouse.snapshots.manifest import verify

    opened = open_home(home=home)
    chosen = snapshot_of(opened, snapshot)
    verify(chosen.folder)
    click.echo(
        f"{chosen.folder}: {size_of(chosen.folder):,} bytes to the data set {repo} at {opened.settings.endpoint}.",
        err=True,
    )
    if not yes:
        click.confirm("What that data set holds now is replaced. Upload?", abort=True, err=True)
    click.echo(upload_folder(hub_of(opened).options, chosen.folder, repo, private, f"Snapshot {chosen.id}"))
