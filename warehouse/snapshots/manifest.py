"""The manifest of a snapshot folder: which files belong to it, with checksums, and the id that they make.

Knows: the format, what enters the id, which versions can be read. Does not know: what the files mean.

    {"id", "schema", "created", "context", "files": {name: sha256}, "weights": {adapter key: {file name: sha256}}}
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from catalog.errors import SnapshotError
from catalog.tasks.task import content_hash
from warehouse.schemas.columns import SCHEMA_VERSION
from warehouse.schemas.snapshot import ASIDE

MANIFEST = "manifest.json"
CARD = "README.md"
VIEWS = "views"
"""The folder of what views answered."""
READABLE = ("2", SCHEMA_VERSION)
_APART = (*(f"{name}.parquet" for name in ASIDE), CARD)
TRAINED = "trained"
"""The folder of trained states: what routers and gates learned on this catalog (lorauter/trained)."""
_FILE = re.compile(rf"({VIEWS}/)?\w[\w.]*|{TRAINED}/\w[\w.-]*")


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a folder, its form checked, the files not looked at. Raises SnapshotError."""
    path = folder / MANIFEST
    if not path.is_file():
        raise SnapshotError(
            f"{folder} is no snapshot: it has no {MANIFEST}.",
            "Name a folder under snapshots/, or publish again with `lorauter publish`.",
        )
    try:
        manifest: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        _check_form(folder, manifest)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise damaged(folder, f"{MANIFEST} is unreadable") from error
    return manifest


def content_id(
    checksums: Mapping[str, str], context: Mapping[str, Any], weights: Mapping[str, Any], schema: str = SCHEMA_VERSION
) -> str:
    """The id: a hash of the files' contents and of the settings that made them, how it came about left out."""
    of_content = {
        name: checksum
        for name, checksum in checksums.items()
        if name not in _APART and not name.startswith(f"{VIEWS}/")
    }
    return content_hash([schema, of_content, context, *([weights] if weights else [])])


def verify(folder: Path, weights: bool = True) -> dict[str, Any]:
    """Compare every file with the manifest, which is returned. Raises SnapshotError naming the file at fault.

    Args:
        weights: whether the adapters' weights are read too.
    """
    manifest = read_manifest(folder)
    wanted = dict(manifest["files"])
    for key, files in manifest.get("weights", {}).items() if weights else ():
        wanted |= {f"{weights_folder(key)}/{name}": checksum for name, checksum in files.items()}
    for name, checksum in wanted.items():
        path = folder / name
        if not path.is_file():
            raise damaged(folder, f"{name} is missing")
        if sha256(path) != checksum:
            raise damaged(folder, f"the checksum of {name} does not match the manifest")
    return manifest


def weights_folder(key: str) -> str:
    """Where an adapter's files lie in a snapshot that was published with them."""
    return f"weights/{quote(key, safe='')}"


def damaged(folder: Path, what: str) -> SnapshotError:
    """The error for a folder that is not as its manifest says."""
    return SnapshotError(
        f"The snapshot {folder} is damaged: {what}.",
        "Delete that folder and run `lorauter publish`: the ledger makes it anew without new evaluations.",
    )


def sha256(path: Path) -> str:
    """Of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _check_form(folder: Path, manifest: dict[str, Any]) -> None:
    if manifest["schema"] not in READABLE:
        raise SnapshotError(
            f"{folder} has schema {manifest['schema']}, this version reads {' and '.join(READABLE)}.",
            "Publish again with `lorauter publish`.",
        )
    weights = manifest.get("weights", {})
    apart = [name for files in weights.values() for name in files if Path(name).name != name]
    if not isinstance(manifest["files"], dict) or apart or not all(map(_FILE.fullmatch, manifest["files"])):
        raise damaged(folder, "the manifest lists files outside the folder")
    if not isinstance(manifest["context"], dict) or not isinstance(manifest["created"], str):
        raise damaged(folder, f"fields of {MANIFEST} have the wrong type")
    if manifest["id"] != content_id(manifest["files"], manifest["context"], weights, manifest["schema"]):
        raise damaged(folder, f"the id in {MANIFEST} is not that of its content")
