"""Snapshots: the curated catalog, frozen. A folder of Parquet files whose manifest is written last.

Knows: how tables become an immutable folder named by their content, and the current one.
Does not know: how scores come about, how queries are routed, what was published before (warehouse/snapshots/history).

    snapshots/<id>/{tasks,inputs,best,scores,rungs,adapters,formats,templates,curation}.parquet, views.sql,
        README.md, manifest.json
    snapshots/<id>/{changes,runs,sources}.parquet    how it came about
    snapshots/<id>/views/<name>.parquet              answers of views, made from these
    snapshots/<id>/trained/<router>-<hash>.{safetensors,json}    what routers learned on it
    snapshots/<id>/weights/<adapter>/                where it was published with weights
    snapshots/current        the id of the published one, swapped atomically (warehouse/snapshots/pointer)

The id hashes the files' contents and the settings that made them. No time and no history enters it, so the same
ledger always gives the same id: `changes`, `runs`, `sources` and the views' answers have checksums, but stay out of
it. A folder without a manifest is an interrupted publish and is never read.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from catalog.adapters.facts import CONFIG_NAME, WEIGHTS_NAME
from catalog.errors import SnapshotError
from warehouse.schemas.columns import SCHEMA_VERSION
from warehouse.schemas.snapshot import ASIDE, SNAPSHOT
from warehouse.snapshots.dataset_card import dataset_card
from warehouse.snapshots.diff import changes
from warehouse.snapshots.manifest import (
    CARD,
    MANIFEST,
    TRAINED,
    VIEWS,
    content_id,
    damaged,
    read_manifest,
    sha256,
    verify,
    weights_folder,
)
from warehouse.snapshots.pointer import PUBLISHED, read_pointer, swap
from warehouse.snapshots.sorted_tables import Rows, Stored, open_sorter, write_sorted
from warehouse.snapshots.views import keep_views, views_sql
from warehouse.storage.files import column_names, read_table, sync_folder, write_text

FindTrained = Callable[["Snapshot"], Mapping[str, Path]]
"""A snapshot → files of trained states that belong to it, by the names that they shall have there."""
_ABANDONED = 3600.0  # seconds
_VIEWS_SQL = "views.sql"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """An opened, verified snapshot."""

    id: str
    folder: Path
    context: Mapping[str, Any]
    created: str

    def holds(self, table: str) -> bool:
        """Whether it has the table: `inputs` was added within schema 2."""
        return (self.folder / f"{table}.parquet").is_file()

    def read(self, table: str) -> list[dict[str, Any]]:
        """All rows of a table in key order."""
        try:
            rows: list[dict[str, Any]] = read_table(self.folder / f"{table}.parquet").to_pylist()
        except ValueError as error:
            raise damaged(self.folder, str(error)) from error
        return rows

    def rows(self, table: str, columns: Sequence[str], base: str | None = None) -> list[dict[str, Any]]:
        """Some columns of the rows of a table, in key order; None for a column that an older version did not write.

        Args:
            base: only the rows of this base model.
        """
        path = self.folder / f"{table}.parquet"
        try:
            written = column_names(path)
            stored = read_table(path, [name for name in dict.fromkeys(("base", *columns)) if name in written])
        except ValueError as error:
            raise damaged(self.folder, str(error)) from error
        if base is not None:
            stored = stored.filter(pc.equal(stored["base"], base))
        absent = dict.fromkeys(name for name in columns if name not in written)
        return [{**absent, **row} for row in stored.select([c for c in columns if c in written]).to_pylist()]

    def of_other_bases(self, table: str, base: str) -> pa.Table:
        """The rows of a table that are not of a base model. Raises SnapshotError where it is damaged."""
        try:
            rows = read_table(self.folder / f"{table}.parquet")
        except ValueError as error:
            raise damaged(self.folder, str(error)) from error
        return rows.filter(pc.not_equal(rows["base"], base))

    @property
    def trained(self) -> list[Path]:
        """The facts of the trained states that it holds, files of JSON; the tensors lie beside each."""
        return sorted((self.folder / TRAINED).glob("*.json"))

    def weights(self, key: str) -> Path | None:
        """Folder of an adapter's files, where the snapshot was published with them."""
        folder = self.folder / weights_folder(key)
        return folder if folder.is_dir() else None


def publish(
    root: Path,
    tables: Mapping[str, Rows | Stored],
    context: Mapping[str, Any],
    aside: Mapping[str, Rows | Stored] | None = None,
    weights: Mapping[str, Path] | None = None,
    before: Snapshot | None = None,
    trained: FindTrained | None = None,
) -> Snapshot:
    """Freeze tables as a snapshot under `root` and make it the current one.

    Args:
        tables: rows, or an Arrow table or dataset, by table name, the names of `schemas.SNAPSHOT`; what is left out
            is empty.
        context: settings that made them (JSON values, no times); part of the id.
        aside: the same for the names of `schemas.ASIDE`, which the id leaves out. Left out, `changes` are those since
            the current snapshot.
        weights: adapter key → folder, whose files travel with the snapshot; part of the id.
        before: the current snapshot, where the caller has opened it: it is not verified again.
        trained: gives the states that belong to it, of a snapshot that has no id yet; part of the id.
    """
    root.mkdir(parents=True, exist_ok=True)
    _sweep(root)
    work = Path(tempfile.mkdtemp(dir=root, prefix=".publish-"))
    try:
        work.chmod(0o755)  # mkdtemp's is for nobody else, and a snapshot is for all readers
        given = {**tables, **(aside or {})}
        _fill(work, given, None if "changes" in given else _before(root, before))
        copied = {key: _copy(folder, work / weights_folder(key)) for key, folder in sorted((weights or {}).items())}
        draft = Snapshot("", work, context, "")
        add_trained(work, trained(draft) if trained else {})
        snapshot_id = _seal(work, context, copied)
        opened = _install(work, root / snapshot_id)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    swap(root, snapshot_id, PUBLISHED)
    return opened


def with_trained(root: Path, snapshot: Snapshot, files: Mapping[str, Path]) -> Snapshot:
    """Publish a snapshot again with other trained states, and make it the current one.

    Args:
        root: the folder of all snapshots.
        files: those of all states that it shall hold, by name.
    """
    work = Path(tempfile.mkdtemp(dir=root, prefix=".publish-"))
    try:
        shutil.copytree(
            snapshot.folder,
            work,
            ignore=shutil.ignore_patterns(MANIFEST, TRAINED),
            copy_function=_link_or_copy,
            dirs_exist_ok=True,
        )
        work.chmod(0o755)
        add_trained(work, files)
        snapshot_id = _seal(work, snapshot.context, read_manifest(snapshot.folder).get("weights", {}))
        opened = _install(work, root / snapshot_id)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    swap(root, snapshot_id, PUBLISHED)
    return opened


def add_trained(folder: Path, files: Mapping[str, Path]) -> None:
    """Copy files of trained states into a snapshot that is being made."""
    for name, path in sorted(files.items()):
        (folder / TRAINED).mkdir(exist_ok=True)
        shutil.copyfile(path, folder / TRAINED / name)


def _link_or_copy(source: str, target: str) -> None:
    """Files of a snapshot never change: one may lie in two of them."""
    try:
        Path(target).hardlink_to(source)
    except OSError:  # another disk, or one that has no links
        shutil.copyfile(source, target)


def current_snapshot(root: Path) -> Snapshot:
    """The published snapshot. Raises SnapshotError where none is, or where it is damaged."""
    return open_snapshot(root / read_pointer(root))


def open_snapshot(folder: Path) -> Snapshot:
    """Open a snapshot folder and verify every checksum but those of weights. Raises SnapshotError naming the file."""
    manifest = verify(folder, weights=False)
    return Snapshot(manifest["id"], folder, manifest["context"], manifest["created"])


def _sweep(root: Path) -> None:
    """Remove what publishers that were killed left behind; a running one's folder is younger than an hour."""
    for left in root.glob(".publish-*"):
        with suppress(OSError):
            if time.time() - left.stat().st_mtime > _ABANDONED:
                shutil.rmtree(left, ignore_errors=True)


def _install(work: Path, folder: Path) -> Snapshot:
    """Move a filled folder to its place; one that is there and whole stays, a damaged one is replaced."""
    try:
        work.replace(folder)
    except OSError:  # it exists and is not empty
        with suppress(SnapshotError):
            return open_snapshot(folder)
        shutil.rmtree(folder)
        work.replace(folder)
    sync_folder(folder.parent)
    return open_snapshot(folder)


def _fill(work: Path, tables: Mapping[str, Rows | Stored], before: Snapshot | None) -> None:
    """Write tables and views. Where there is a snapshot before, `changes` are those since."""
    with tempfile.TemporaryDirectory(dir=work) as spill, open_sorter(Path(spill)) as sorter:
        for name, (schema, keys) in {**SNAPSHOT, **ASIDE}.items():
            rows = changes(before.folder, work) if before and name == "changes" else tables.get(name, ())
            write_sorted(sorter, work / f"{name}.parquet", rows, schema, keys)
        keep_views(sorter, work)
    write_text(work / _VIEWS_SQL, views_sql())


def _before(root: Path, opened: Snapshot | None) -> Snapshot | None:
    """What is published until now, if it is whole."""
    with suppress(SnapshotError):
        return opened if opened and opened.id == read_pointer(root) else current_snapshot(root)
    return None


def _copy(folder: Path, into: Path) -> dict[str, str]:
    """Copy an adapter's files; name → checksum. Links are followed: downloads are links into a cache."""
    into.mkdir(parents=True)
    for path in sorted(folder.iterdir()):
        if path.name in (CONFIG_NAME, WEIGHTS_NAME):
            shutil.copyfile(path, into / path.name)
    return {path.name: sha256(path) for path in sorted(into.iterdir())}


def _seal(work: Path, context: Mapping[str, Any], weights: Mapping[str, Mapping[str, str]]) -> str:
    """Write card and manifest over what is there. Returns the id."""
    write_text(work / CARD, dataset_card(work))
    made = sorted(path for folder in (work, work / VIEWS, work / TRAINED) for path in folder.glob("*.*"))
    checksums = {path.relative_to(work).as_posix(): sha256(path) for path in made}
    snapshot_id = content_id(checksums, context, weights)
    manifest = {
        "id": snapshot_id,
        "schema": SCHEMA_VERSION,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "context": context,
        "files": checksums,
        **({"weights": weights} if weights else {}),
    }
    write_text(work / MANIFEST, json.dumps(manifest, indent=2, sort_keys=True) + "\n")
    return snapshot_id
