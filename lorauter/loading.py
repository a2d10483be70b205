"""`lorauter.load`: a router from a published snapshot.

Knows: which router, which base, where the snapshot's encoder lies. Does not know: how a router weighs.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from catalog.errors import HubDown, HubRefusal, SettingError
from lorauter.routers import ROUTERS, RouterParts, no_engine
from lorauter.routing.fallback import without
from lorauter.routing.filters import refused
from lorauter.routing.routes import Router, RouterOptions
from lorauter.routing.task_index import EncoderId, load_doras, load_index, load_inputs, load_means, load_pool
from lorauter.train.found_states import states_of
from warehouse.snapshots.snapshot import Snapshot, open_snapshot

if TYPE_CHECKING:
    from lorauter.engine.engine import Engine
    from lorauter.routing.encoder import Encoder


FindEncoder = Callable[[EncoderId], Path]


def load(
    folder: str | Path,
    *,
    base: str | None = None,
    router: str = "lorauter",
    options: RouterOptions | None = None,
    encoder: str | Path | FindEncoder | None = None,
    truth: Mapping[str, str] | None = None,
    gone: Collection[str] = (),
    engine: Callable[[], Engine] = no_engine,
    prompt_of: Callable[[str], str] = str,
    encoder_dtype: str = "float32",
) -> Router:
    """A router over a snapshot folder.

    Args:
        folder: a published snapshot (the folder that holds manifest.json).
        base: base model id; may be left out where the snapshot has one only.
        router: a name of `lorauter.routers.ROUTERS`.
        options: its constants, and which adapters it may use.
        encoder: folder of the sentence encoder, or what finds it by its id. Left out, it is looked for in the home that
            the snapshot lies in, then downloaded from the public Hub at the same commit.
        truth: query → true task, which the oracle needs.
        gone: adapters that can no longer be had: their tasks take the next best.
        engine: gives one on the base, for routers that let the base read the query; called when first needed.
        prompt_of: for those, query → prompt as it is answered; left out, the query as it is.
        encoder_dtype: what queries are embedded in; "auto" is bfloat16 where the machine is fast in it.

    Raises:
        SnapshotError: the folder is no snapshot, or damaged.
        SettingError: unknown router or base, or another encoder than the one that made the task embeddings.
    """
    ROUTERS.check(router)
    snapshot = open_snapshot(Path(folder))
    parts = open_parts(snapshot, base=base, options=options, encoder=encoder, truth=truth, encoder_dtype=encoder_dtype)
    parts = replace(parts, engine=engine, prompt_of=prompt_of)
    return ROUTERS[router](parts_without(parts, snapshot, gone))


def open_parts(
    snapshot: Snapshot,
    *,
    base: str | None = None,
    options: RouterOptions | None = None,
    encoder: str | Path | FindEncoder | None = None,
    truth: Mapping[str, str] | None = None,
    encoder_dtype: str = "float32",
) -> RouterParts:
    """What the routers of one base of an opened snapshot are built from. Args and errors: as `load`."""
    index = load_index(snapshot, base)
    parts = RouterParts(
        index=index,
        encoder=_encoder_loader(index.encoder, _finder(snapshot.folder, encoder), encoder_dtype),
        inputs=cache(lambda: load_inputs(snapshot, index)),
        options=options or RouterOptions(),
        truth={} if truth is None else truth,
        means=cache(lambda: load_means(snapshot, index)),
        pool=load_pool(snapshot, index),
        doras=load_doras(snapshot, index),
        state=states_of(snapshot, index),
    )
    return parts_without(parts, snapshot, ())


def parts_without(parts: RouterParts, snapshot: Snapshot, gone: Collection[str]) -> RouterParts:
    """The parts without some adapters, and without those that the options' filters refuse: their tasks take the next
    best. What was fitted on the inputs is kept."""
    out = {*gone, *refused(snapshot, parts.index.base, parts.options)}
    left = tuple(key for key in parts.pool if key not in out)
    return replace(parts, index=without(parts.index, snapshot, out), pool=left)


def _encoder_loader(wanted: EncoderId, find: FindEncoder, dtype: str) -> Callable[[], Encoder]:
    """Loads the encoder when first called, and keeps it."""

    @cache
    def loader() -> Encoder:
        from lorauter.routing.encoder import Encoder

        encoder = Encoder(find(wanted), prompt=wanted.prompt, dtype=dtype)
        if encoder.hash != wanted.hash:
            raise SettingError(
                f"The encoder differs from {wanted.id} (hash {encoder.hash}, wanted {wanted.hash}).",
                "Use the encoder that made the snapshot: similarities of two encoders do not compare.",
            )
        return encoder

    return loader


def _finder(snapshot: Path, encoder: str | Path | FindEncoder | None) -> FindEncoder:
    if callable(encoder):
        return encoder
    if encoder is not None:
        folder = Path(encoder)
        return lambda _: folder
    return lambda wanted: _find_or_download(snapshot, wanted)


def _find_or_download(snapshot: Path, wanted: EncoderId) -> Path:
    from catalog.hub.client import DEFAULT_CACHE, PUBLIC_ENDPOINT, Hub, HubOptions
    from catalog.hub.models import fetch_model

    in_home = snapshot.parent.parent / "hub"
    hub = Hub(HubOptions(endpoint=PUBLIC_ENDPOINT, cache_dir=in_home if in_home.is_dir() else DEFAULT_CACHE))
    try:
        return fetch_model(hub, wanted.id, wanted.sha)
    except (HubDown, HubRefusal):
        local = hub.local(wanted.id, wanted.sha)
        if not (local / "config.json").exists():
            raise
        return local  # somebody else's download, maybe a part; its hash is checked before it is used
