"""The files of adapters: here already, in a snapshot that was published with weights, or downloaded.

Knows: where each of these places is. Does not know: which adapters are wanted, what is in the files.
"""

from __future__ import annotations

import glob
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from catalog.adapters.adapter import AdapterId
from catalog.adapters.facts import CONFIG_NAME, WEIGHTS_NAME
from warehouse.snapshots.manifest import weights_folder

if TYPE_CHECKING:
    from catalog.hub.client import Hub


@dataclass(frozen=True)
class AdapterFiles:
    """The adapters of a hub, and of the snapshots beside it.

    Args:
        hub: where adapters are downloaded from, and what keeps them.
        snapshots: the folder of snapshots.
    """

    hub: Hub
    snapshots: Path

    def fetch(self, key: str) -> Path:
        """Folder of an adapter's config and weights. Raises HubError where it is not here and cannot be downloaded."""
        adapter = AdapterId.parse(key)
        folder = self.hub.local(adapter.repo, adapter.sha, adapter.path)
        if all((folder / name).exists() for name in (CONFIG_NAME, WEIGHTS_NAME)):
            return folder
        published = next(self.snapshots.glob(f"*/{glob.escape(weights_folder(key))}"), None)
        if published is not None:
            return published
        names = [f"{adapter.path}/{name}".lstrip("/") for name in (CONFIG_NAME, WEIGHTS_NAME)]
        self.hub.download(adapter.repo, names, adapter.sha)
        return folder
