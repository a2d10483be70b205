"""Trained routers that need texts and their tasks alone, as the judge of benchmarks/routing makes them.

Knows: how a fit is run on labelled texts without a catalog. Does not know: files, figures, adapters.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, cast

import numpy as np

from benchmarks.text_routers import Embed, TextRouter
from lorauter.routers import RouterParts
from lorauter.routers.dlp_lora import DlpLoraRouter
from lorauter.routers.two_stage import TwoStageRouter
from lorauter.routing.routes import RouterOptions
from lorauter.routing.task_index import EncoderId, TaskIndex, TaskInputs
from lorauter.train.fit import FitParts
from lorauter.train.fits import FITS

if TYPE_CHECKING:
    from lorauter.routing.encoder import Encoder

SECONDS = 3600.0


class _Embedding:
    """An encoder that is a function."""

    def __init__(self, embed: Embed) -> None:
        self.encode = embed


def dlp_lora(inputs: TaskInputs, embed: Embed) -> TextRouter:
    """DLP-LoRA: probabilities."""
    parts = parts_of(inputs, embed, "dlp_lora")
    return DlpLoraRouter(parts.index, parts.encoder, lambda: parts.state("dlp_lora"))


def two_stage(inputs: TaskInputs, embed: Embed) -> TextRouter:
    """The reranker's cosines."""
    return TwoStageRouter(parts_of(inputs, embed, "two_stage"))


TRAINED: dict[str, Callable[[TaskInputs, Embed], TextRouter]] = {"dlp_lora": dlp_lora, "two_stage": two_stage}


def parts_of(inputs: TaskInputs, embed: Embed, name: str, seed: int = 0) -> RouterParts:
    """Parts over nameless tasks that publish nothing, with a router's state, trained now."""
    sums = np.zeros((int(inputs.owners.max()) + 1, inputs.embeddings.shape[1]), dtype=np.float32)
    np.add.at(sums, inputs.owners, inputs.embeddings)
    means = np.asarray(sums / np.bincount(inputs.owners)[:, None], dtype=np.float32)
    tasks = tuple(f"{place:04}" for place in range(len(sums)))
    nothing = ("",) * len(tasks)
    index = TaskIndex("", "", tasks, means, nothing, (None,) * len(tasks), EncoderId("", "", ""))
    encoder = cast("Callable[[], Encoder]", lambda: _Embedding(embed))
    parts = FitParts(index, (), lambda: inputs, encoder)
    with TemporaryDirectory() as folder:
        state = FITS[name].train(parts, SECONDS, seed, lambda *_told: None, Path(folder))
    return RouterParts(index, encoder, lambda: inputs, RouterOptions(), {}, state=lambda _name: state)
