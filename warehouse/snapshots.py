"""Snapshots: the curated catalog, frozen. A folder of Parquet files whose manifest is written last.

Knows: how tables become an immutable folder named by their content, the pointer to the current one, checksums.
Does not know: how scores come about, how queries are routed.

    snapshots/<id>/{tasks,inputs,best,scores,rungs,adapters}.parquet, views.sql, manifest.json
    snapshots/<id>/{changes,runs,sources}.parquet    how it came about
    snapshots/<id>/views/<name>.parquet              answers of views, made from these
    snapshots/current        the id of the published one, swapped atomically

The id hashes the files' contents and the settings that made them. No time and no history enters it, so the same
ledger always gives the same id: `changes`, `runs`, `sources` and the views' answers have checksums, but stay out of
it. A folder without a manifest is an interrupted publish and is never read.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from catalog.errors import SnapshotError
from catalog.task import content_hash
from warehouse.files import read_table, write_text
from warehouse.schemas import ASIDE, SCHEMA_VERSION, SNAPSHOT
from warehouse.sorted_tables import Rows, Stored, open_sorter, write_sorted
from warehouse.views import FOLDER, keep_views, views_sql

_ABANDONED = 3600.0  # seconds
_MANIFEST = "manifest.json"
_VIEWS = "views.sql"
_ID = re.compile(r"[0-9a-f]{16}")
_FILE = re.compile(rf"({FOLDER}/)?\w+\.\w+")


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
            raise _damaged(self.folder, str(error)) from error
        return rows


def publish(
    root: Path,
    tables: Mapping[str, Rows | Stored],
    context: Mapping[str, Any],
    aside: Mapping[str, Rows | Stored] | None = None,
) -> Snapshot:
    """Freeze tables as a snapshot under `root` and make it the current one.

    Args:
        tables: rows, or an Arrow table or dataset, by table name, the names of `schemas.SNAPSHOT`; what is left out
            is empty.
        context: settings that made them (JSON values, no times); part of the id.
        aside: the same for the names of `schemas.ASIDE`, which the id leaves out.
    """
    root.mkdir(parents=True, exist_ok=True)
    _sweep(root)
    work = Path(tempfile.mkdtemp(dir=root, prefix=".publish-"))
    try:
        work.chmod(0o755)  # mkdtemp's is for nobody else, and a snapshot is for all readers
        snapshot_id = _fill(work, {**tables, **(aside or {})}, context)
        opened = _install(work, root / snapshot_id)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    write_text(root / "current", snapshot_id + "\n")
    return opened


def current_snapshot(root: Path) -> Snapshot:
    """The published snapshot. Raises SnapshotError where none is, or where it is damaged."""
    pointer = root / "current"
    if not pointer.exists():
        raise SnapshotError(f"Nothing is published in {root} yet.", "Run `lorauter refresh` or `lorauter publish`.")
    name = pointer.read_text(encoding="utf-8", errors="replace").strip()
    if not _ID.fullmatch(name):
        raise SnapshotError(f"{pointer} names no snapshot.", "Publish again with `lorauter publish`.")
    return open_snapshot(root / name)


def open_snapshot(folder: Path) -> Snapshot:
    """Open a snapshot folder and verify every checksum. Raises SnapshotError naming the file at fault."""
    manifest = _read_manifest(folder)
    for name, checksum in manifest["files"].items():
        path = folder / name
        if not path.is_file():
            raise _damaged(folder, f"{name} is missing")
        if _sha256(path) != checksum:
            raise _damaged(folder, f"the checksum of {name} does not match the manifest")
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
    return open_snapshot(folder)


def _fill(work: Path, tables: Mapping[str, Rows | Stored], context: Mapping[str, Any]) -> str:
    with tempfile.TemporaryDirectory(dir=work) as spill, open_sorter(Path(spill)) as sorter:
        for name, (schema, keys) in {**SNAPSHOT, **ASIDE}.items():
            write_sorted(sorter, work / f"{name}.parquet", tables.get(name, ()), schema, keys)
        keep_views(sorter, work)
    write_text(work / _VIEWS, views_sql())
    checksums = {str(path.relative_to(work)): _sha256(path) for path in sorted(work.rglob("*.*"))}
    snapshot_id = _content_id(checksums, context)
    manifest = {
        "id": snapshot_id,
        "schema": SCHEMA_VERSION,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "context": context,
        "files": checksums,
    }
    write_text(work / _MANIFEST, json.dumps(manifest, indent=2, sort_keys=True) + "\n")
    return snapshot_id


def _read_manifest(folder: Path) -> dict[str, Any]:
    path = folder / _MANIFEST
    if not path.is_file():
        raise SnapshotError(
            f"{folder} is no snapshot: it has no {_MANIFEST}.",
            "Name a folder under snapshots/, or publish again with `lorauter publish`.",
        )
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        if manifest["schema"] != SCHEMA_VERSION:
            raise SnapshotError(
                f"{folder} has schema {manifest['schema']}, this version reads {SCHEMA_VERSION}.",
                "Publish again with `lorauter publish`.",
            )
        if not isinstance(manifest["files"], dict) or not all(_FILE.fullmatch(n) for n in manifest["files"]):
            raise _damaged(folder, "the manifest lists files outside the folder")
        if not isinstance(manifest["context"], dict) or not isinstance(manifest["created"], str):
            raise _damaged(folder, f"fields of {_MANIFEST} have the wrong type")
        if manifest["id"] != _content_id(manifest["files"], manifest["context"]):
            raise _damaged(folder, f"the id in {_MANIFEST} is not that of its content")
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise _damaged(folder, f"{_MANIFEST} is unreadable") from error
    return dict(manifest)


def _content_id(checksums: Mapping[str, str], context: Mapping[str, Any]) -> str:
    of_content = {name: checksum for name, checksum in checksums.items() if _is_content(name)}
    return content_hash([SCHEMA_VERSION, of_content, context])


def _is_content(name: str) -> bool:
    return Path(name).parent.name != FOLDER and Path(name).stem not in ASIDE


def _damaged(folder: Path, what: str) -> SnapshotError:
    return SnapshotError(
        f"The snapshot {folder} is damaged: {what}.",
        "Delete that folder and run `lorauter publish`: the ledger makes it anew without new evaluations.",
    )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
