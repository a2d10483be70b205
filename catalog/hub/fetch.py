"""Fetch: one file of a commit into the cache, through huggingface_hub's own download.

Knows: links of the cache, how the client reports trouble on the way. Does not know: bounds on what comes
(catalog/hub/session), which files are wanted (catalog/hub, catalog/hub/datasets). With a commit's sha nothing is
fetched twice.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from catalog.hub.session import Passing
from catalog.hub.transport import HubOptions, Transport

# isort: split
import httpx2
from huggingface_hub import hf_hub_download
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

from catalog.errors import DiskError, HubError
from catalog.hub.errors import NO_HUB

RepoType = Literal["model", "dataset"]


def commit_folder(options: HubOptions, kind: RepoType, repo: str, sha: str) -> Path:
    """Where the files of a commit are kept."""
    return options.cache_dir / f"{kind}s--{repo.replace('/', '--')}" / "snapshots" / sha


def fetch(transport: Transport, kind: RepoType, repo: str, name: str, sha: str, max_bytes: int) -> Path:
    """Path of one file of at most `max_bytes`, downloaded if need be.

    Raises:
        HubError: the hub does not have it, or fails, or the file is larger.
        DiskError: it cannot be written, or a link in the cache leads out of it: the person who planted it chose
            what would be read.
    """
    options = transport.options
    folder = commit_folder(options, kind, repo, sha)
    _check_inside(folder, options.cache_dir)
    transport.download(f"{repo}/{name}", max_bytes, lambda: _download(transport, kind, repo, name, sha))
    _check_inside(folder / name, options.cache_dir)
    if not (folder / name).exists():  # the client puts a file where the answer's commit says
        raise HubError(f"{repo}/{name}: the hub sent it of another commit than asked for.", NO_HUB)
    return folder / name


def _download(transport: Transport, kind: RepoType, repo: str, name: str, sha: str) -> None:
    options = transport.options
    try:
        hf_hub_download(
            repo,
            name,
            repo_type=kind,
            revision=sha,
            endpoint=options.endpoint,
            cache_dir=options.cache_dir,
            token=transport.token,
            etag_timeout=options.timeout,
        )
    except Passing as passing:
        raise passing.error from passing
    except HfHubHTTPError:
        raise
    except OSError as error:
        # The client wraps trouble on the way, and tells a short file, as errors of the disk without a number.
        if isinstance(error.__cause__, httpx2.HTTPError):
            raise error.__cause__ from error
        if error.errno is None and not isinstance(error, LocalEntryNotFoundError):
            raise httpx2.RemoteProtocolError(" ".join(str(error).split())[:200]) from error
        raise


def _check_inside(path: Path, cache: Path) -> None:
    if not path.resolve().is_relative_to(cache.resolve()):
        raise DiskError(f"{path} leads out of the cache, to {path.resolve()}.", "Delete that link.")
