"""Embeddings of tasks and of what adapters' cards say, made once and kept in a folder.

Knows: which texts are embedded, where vectors are kept. Does not know: encoders (lorauter/routing/encoder), routing,
racing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from catalog.tasks.task import Task, content_hash
from warehouse.storage.files import write_atomically, write_text

if TYPE_CHECKING:
    from lorauter.routing.encoder import Encoder

Vectors = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class EncoderIdentity:
    """What makes vectors comparable: the encoder's id, commit, prompt, and the hash of its weights and settings."""

    id: str
    sha: str
    prompt: str
    hash: str


class Embeddings:
    """Vectors of one encoder. It is loaded for texts that were never embedded before, and only then.

    Args:
        folder: where vectors are kept.
        encoder: id of the encoder.
        prompt: text put before whatever is embedded.
        find_sha: asks the hub for the encoder's commit; once, when it is first needed.
        load: the encoder at a commit.
    """

    def __init__(
        self, folder: Path, encoder: str, prompt: str, find_sha: Callable[[], str], load: Callable[[str], Encoder]
    ) -> None:
        self._folder, self._id, self._prompt = folder, encoder, prompt
        self._find_sha, self._load = find_sha, load

    @property
    def identity(self) -> EncoderIdentity:
        """The encoder's."""
        file = self._file("hash")
        if not file.exists():
            write_text(file, self._encoder.hash)
        return EncoderIdentity(self._id, self._sha, self._prompt, file.read_text(encoding="utf-8"))

    def tasks(self, tasks: Sequence[Task]) -> Vectors:
        """t_j, the mean of the embeddings of each task's validation inputs: (tasks, d), not normalised."""
        return np.stack([self.inputs(task).mean(axis=0, dtype=np.float64).astype(np.float32) for task in tasks])

    def inputs(self, task: Task) -> Vectors:
        """Unit vectors of a task's validation inputs, in their order: (inputs, d)."""
        inputs = [e.input for e in task.validation]
        path = self._folder / f"{content_hash([*self._made_by, 'inputs', inputs])}.npy"
        if not path.exists():
            vectors = self._encoder.encode(inputs)
            write_atomically(path, lambda part: _save(part, vectors))
        return np.asarray(np.load(path, allow_pickle=False), dtype=np.float32)

    def texts(self, texts: Sequence[str]) -> Vectors:
        """Unit vectors of short texts: (texts, d)."""
        file = self._file("npz")
        kept: dict[str, Vectors] = {}
        if file.exists():
            with np.load(file, allow_pickle=False) as stored:
                kept = dict(zip(stored["names"].tolist(), stored["vectors"], strict=True))
        names = [content_hash(text, 32) for text in texts]
        new = {name: text for name, text in zip(names, texts, strict=True) if name not in kept}
        if new:
            kept |= zip(new, self._encoder.encode(list(new.values())), strict=True)
            write_atomically(file, lambda part: _save_named(part, kept))
        return np.stack([kept[name] for name in names])

    @cached_property
    def _encoder(self) -> Encoder:
        return self._load(self._sha)

    @cached_property
    def _sha(self) -> str:
        return self._find_sha()

    @property
    def _made_by(self) -> list[str]:
        return [self._id, self._sha, *[self._prompt] * bool(self._prompt)]

    def _file(self, suffix: str) -> Path:
        """A file of this encoder alone."""
        return self._folder / f"{content_hash(self._made_by)}.{suffix}"


def likeness(embeddings: Embeddings, tasks: Sequence[Task], texts: Sequence[str]) -> npt.NDArray[np.float64]:
    """Cosine of every text to every task, (tasks, texts); where there is no text, the mean over those that there are.

    Rounded, so that a rerun decides alike.
    """
    toward = embeddings.tasks(tasks)
    unit = toward / np.maximum(np.linalg.norm(toward, axis=1, keepdims=True), 1e-9)
    cosines = (unit @ embeddings.texts(texts).T).astype(np.float64)
    told = np.asarray([bool(text) for text in texts])
    cosines[:, ~told] = cosines[:, told].mean(axis=1, keepdims=True) if told.any() else 0.0
    return np.asarray(np.round(cosines, 4))


def _save_named(part: Path, vectors: Mapping[str, Vectors]) -> None:
    with part.open("wb") as file:
        np.savez(file, names=np.asarray(list(vectors)), vectors=np.stack(list(vectors.values())))


def _save(part: Path, vector: Vectors) -> None:
    with part.open("wb") as file:
        np.save(file, vector, allow_pickle=False)
