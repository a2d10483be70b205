"""Data sets of a hub: which files one holds, and a bounded download of some.

Knows: the hub's routes for data sets, through huggingface_hub's own client and our transport (budget, retries, errors
for people). Does not know: what is in the files (warehouse/task_readers).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
from huggingface_hub import HfApi, hf_hub_download
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

from catalog.errors import DiskError, HubError
from catalog.hub import HubOptions
from catalog.safe_names import is_repo_id, is_safe_path
from catalog.transport import Transport, downloads_of

MAX_BYTES = 512 << 20  # of all files together: tasks need hundreds of rows, not a training corpus
Choose = Callable[[list[str]], Sequence[str]]


def download_dataset(
    options: HubOptions, repo: str, choose: Choose, revision: str = "main", max_bytes: int = MAX_BYTES
) -> tuple[str, Path, list[str]]:
    """The commit of a data set, the local folder of that commit, and the files that `choose` picked of it, downloaded.

    Raises:
        HubError: there is no such data set for us, it is too large, or the hub fails.
    """
    if not is_repo_id(repo):
        raise HubError(f"{repo[:120]} is no data set id.", "Write it as org/name.")
    transport = Transport(options)
    api = HfApi(endpoint=options.endpoint, token=transport.token)
    ask = partial(api.dataset_info, repo, revision=revision, timeout=options.timeout, files_metadata=True)
    found = transport.call(f"data set {repo}", ask)
    sizes = {str(file.rfilename): file.size for file in found.siblings or () if is_safe_path(str(file.rfilename))}
    names = list(choose(sorted(sizes)))
    total = sum(sizes[name] or 0 for name in names)
    if total > max_bytes:
        raise HubError(
            f"Data set {repo}: {len(names)} files have {total >> 20} MiB, the limit is {max_bytes >> 20}.",
            "Choose fewer with --files.",
        )
    folder = options.cache_dir / f"datasets--{repo.replace('/', '--')}" / "snapshots" / str(found.sha)
    for name in names:
        with downloads_of(max_bytes):
            transport.call(f"{repo}/{name}", partial(_fetch, options, transport.token, repo, name, str(found.sha)))
        _check_inside(folder / name, options.cache_dir)
    return str(found.sha), folder, names


def _fetch(options: HubOptions, token: Any, repo: str, name: str, sha: str) -> None:
    try:
        hf_hub_download(
            repo,
            name,
            repo_type="dataset",
            revision=sha,
            endpoint=options.endpoint,
            cache_dir=options.cache_dir,
            token=token,
            etag_timeout=options.timeout,
        )
    except HfHubHTTPError:
        raise
    except OSError as error:
        # The client wraps trouble on the way, and tells a short file, as errors of the disk without a number.
        if isinstance(error.__cause__, httpx2.HTTPError):
            raise error.__cause__ from error
        if error.errno is None and not isinstance(error, LocalEntryNotFoundError):
            raise httpx2.RemoteProtocolError(str(error)[:200]) from error
        raise


def _check_inside(path: Path, cache: Path) -> None:
    if not path.resolve().is_relative_to(cache.resolve()):
        raise DiskError(f"{path} leads out of the cache, to {path.resolve()}.", "Delete that link.")
