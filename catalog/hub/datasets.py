"""Data sets of a hub: which files one holds, and a bounded download of some.

Knows: the hub's routes for data sets, through huggingface_hub's own client and our transport (budget, retries, errors
for people). Does not know: what is in the files (warehouse/tasks/readers).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from huggingface_hub import HfApi

from catalog.adapters.safe_names import is_repo_id, is_safe_path
from catalog.errors import HubError
from catalog.hub.client import HubOptions
from catalog.hub.errors import NO_HUB
from catalog.hub.fetch import commit_folder, fetch
from catalog.hub.transport import Transport

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
    dataset = transport.call(f"data set {repo}", ask)
    if not re.fullmatch(r"[0-9a-f]{40}", str(dataset.sha)):
        raise HubError(f"Data set {repo}: the hub named no commit.", NO_HUB)
    sizes = {str(file.rfilename): file.size for file in dataset.siblings or () if is_safe_path(str(file.rfilename))}
    names = list(choose(sorted(sizes)))
    total = sum(sizes[name] or 0 for name in names)
    if total > max_bytes:
        raise HubError(
            f"Data set {repo}: {len(names)} files have {total >> 20} MiB, the limit is {max_bytes >> 20}.",
            "Choose fewer with --files.",
        )
    for name in names:
        fetch(transport, "dataset", repo, name, str(dataset.sha), max_bytes)
    return str(dataset.sha), commit_folder(options, "dataset", repo, str(dataset.sha)), names
