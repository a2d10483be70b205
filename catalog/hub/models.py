"""Models of the hub on this disk, and whether one is whole.

Knows: which files of a repo a model is loaded from, how a download that was stopped differs from one that ended.
Does not know: how bytes come (catalog/hub), what loads the files.

A killed download leaves some of a model's files, each of them sound. So no file shows that all are there. A marker
does: it is written last, and names the files.
"""

from __future__ import annotations

from pathlib import Path

from catalog.hub.client import Hub, model_files

MARKER = ".whole"
TOKENIZER_MARKER = ".tokenizer"


def fetch_model(hub: Hub, repo: str, sha: str) -> Path:
    """Folder of a model's files at a commit. What is missing is downloaded; a model that is whole costs no request.

    Raises:
        HubError: the hub does not have it, or fails.
        DiskError: it cannot be written.
    """
    folder = hub.local(repo, sha)
    if not is_whole(folder):
        names = model_files(hub.repo_files(repo, sha)[1])
        hub.download(repo, names, sha)
        (folder / MARKER).write_text("".join(f"{name}\n" for name in names), encoding="utf-8")
    return folder


def fetch_tokenizer(hub: Hub, repo: str, sha: str) -> Path:
    """Folder of a model's small files at a commit, its tokenizer's among them: all but the weights.

    A model that is whole costs no request, and one whose tokenizer was brought is not asked for again.

    Raises:
        HubError: the hub does not have it, or fails.
        DiskError: it cannot be written.
    """
    folder = hub.local(repo, sha)
    if not _holds(folder, MARKER) and not _holds(folder, TOKENIZER_MARKER):
        names = [name for name in model_files(hub.repo_files(repo, sha)[1]) if not name.endswith(".safetensors")]
        hub.download(repo, names, sha)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / TOKENIZER_MARKER).write_text("".join(f"{name}\n" for name in names), encoding="utf-8")
    return folder


def is_whole(folder: Path) -> bool:
    """Whether a commit's folder holds a whole model: its download came to its end, and nobody has deleted a file since.

    A marker of an older version is empty: it tells only that the download came to its end.
    """
    return _holds(folder, MARKER)


def _holds(folder: Path, marker: str) -> bool:
    """Whether a download with this marker came to its end, and its files are still there."""
    try:
        names = (folder / marker).read_text(encoding="utf-8").split("\n")
    except FileNotFoundError:
        return False
    return all((folder / name).exists() for name in names if name)


def is_here(cache: Path, repo: str) -> bool:
    """Whether some commit of a model is whole in a cache."""
    commits = (cache / f"models--{repo.replace('/', '--')}" / "snapshots").glob("*")
    return any(is_whole(commit) for commit in commits)
