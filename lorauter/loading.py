"""`lorauter.load`: a router from a published snapshot.

Knows: which router, which base, where the snapshot's encoder lies. Does not know: how a router weighs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from catalog.errors import SettingError
from lorauter.routers import ROUTERS, RouterParts
from lorauter.routing import Router, RouterOptions
from lorauter.task_index import load_index
from warehouse.snapshots import Snapshot, open_snapshot

if TYPE_CHECKING:
    from lorauter.encoder import Encoder


def load(
    folder: str | Path,
    *,
    base: str | None = None,
    router: str = "lorauter",
    options: RouterOptions | None = None,
    encoder: str | Path | None = None,
    truth: Mapping[str, str] | None = None,
) -> Router:
    """A router over a snapshot folder.

    Args:
        folder: a published snapshot (the folder that holds manifest.json).
        base: base model id; may be left out where the snapshot has one only.
        router: a name of `lorauter.routers.ROUTERS`. options: its constants.
        encoder: folder of the sentence encoder; found by the id in the snapshot otherwise.
        truth: query → true task, which the oracle needs.

    Raises:
        SnapshotError: the folder is no snapshot, or damaged. SettingError: unknown router or base, or another
            encoder than the one that made the task embeddings.
    """
    if router not in ROUTERS:
        raise SettingError(f"There is no router {router!r}.", f"Choose one of: {', '.join(ROUTERS)}.")
    snapshot = open_snapshot(Path(folder))
    parts = RouterParts(
        index=load_index(snapshot, base),
        encoder=_encoder_loader(snapshot, Path(encoder) if encoder else None),
        options=options or RouterOptions(),
        truth=truth or {},
    )
    return ROUTERS[router](parts)


def _encoder_loader(snapshot: Snapshot, folder: Path | None) -> Callable[[], Encoder]:
    """Loads the encoder when first called, and keeps it."""

    @cache
    def loader() -> Encoder:
        from lorauter.encoder import Encoder

        wanted = snapshot.context["encoder"]
        encoder = Encoder(folder or _find_encoder(snapshot.folder, wanted))
        if encoder.hash != wanted["hash"]:
            raise SettingError(
                f"The encoder differs from {wanted['id']} (hash {encoder.hash}, wanted {wanted['hash']}).",
                "Use the encoder that made the snapshot: similarities of two encoders do not compare.",
            )
        return encoder

    return loader


def _find_encoder(snapshot: Path, wanted: Mapping[str, Any]) -> Path:
    """The encoder in the home that the snapshot lies in, else downloaded from the Hub at the same commit."""
    from catalog.hub import PUBLIC_ENDPOINT, Hub, HubOptions, model_files

    cache_dir = snapshot.parent.parent / "hub"
    hub = Hub(HubOptions(endpoint=PUBLIC_ENDPOINT, cache_dir=cache_dir))
    local = hub.local(wanted["id"], wanted["sha"])
    if (local / "config.json").is_file():
        return local
    sha, names = hub.repo_files(wanted["id"], wanted["sha"])
    return hub.download(wanted["id"], model_files(names), sha)
