"""Embeddings of tasks and of what adapters' cards say, made once and kept in the home.

Knows: which texts are embedded, where vectors are kept. Does not know: encoders (lorauter/routing/encoder), routing,
racing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from catalog.tasks.task import Task, content_hash
from flows.home.home import Home
from warehouse.storage.files import write_atomically, write_text

if TYPE_CHECKING:
    from lorauter.routing.encoder import Encoder

Vectors = npt.NDArray[np.float32]


class Embeddings:
    """Vectors of the home's encoder. It is loaded for texts that were never embedded before, and only then."""

    def __init__(self, home: Home) -> None:
        self._home = home
        settings = home.settings
        self._sha, _ = home.hub.repo_files(settings.encoder, settings.encoder_revision)
        prompt = [settings.encoder_prompt] * bool(settings.encoder_prompt)
        self._made_by = [settings.encoder, self._sha, *prompt]
        self._name = content_hash(self._made_by)

    @property
    def identity(self) -> dict[str, str]:
        """The encoder's id, commit, prompt and hash."""
        if not self._hash_file.exists():
            write_text(self._hash_file, self._encoder.hash)
        hash_ = self._hash_file.read_text(encoding="utf-8")
        settings = self._home.settings
        return {"id": settings.encoder, "sha": self._sha, "prompt": settings.encoder_prompt, "hash": hash_}

    def tasks(self, tasks: Sequence[Task]) -> Vectors:
        """t_j, the mean of the embeddings of each task's validation inputs: (tasks, d), not normalised."""
        return np.stack([self.inputs(task).mean(axis=0, dtype=np.float64).astype(np.float32) for task in tasks])

    def inputs(self, task: Task) -> Vectors:
        """Unit vectors of a task's validation inputs, in their order: (inputs, d)."""
        inputs = [e.input for e in task.validation]
        path = self._store / f"{content_hash([*self._made_by, 'inputs', inputs])}.npy"
        if not path.exists():
            vectors = self._encoder.encode(inputs)
            write_atomically(path, lambda part: _save(part, vectors))
        return np.asarray(np.load(path, allow_pickle=False), dtype=np.float32)

    def texts(self, texts: Sequence[str]) -> Vectors:
        """Unit vectors of short texts: (texts, d)."""
        kept = self._kept_texts()
        names = [content_hash(text, 32) for text in texts]
        new = {name: text for name, text in zip(names, texts, strict=True) if name not in kept}
        if new:
            kept |= zip(new, self._encoder.encode(list(new.values())), strict=True)
            write_atomically(self._text_file, lambda part: _save_named(part, kept))
        return np.stack([kept[name] for name in names])

    def _kept_texts(self) -> dict[str, Vectors]:
        if not self._text_file.exists():
            return {}
        with np.load(self._text_file, allow_pickle=False) as found:
            return dict(zip(found["names"].tolist(), found["vectors"], strict=True))

    @cached_property
    def _encoder(self) -> Encoder:
        return self._home.encoder(self._sha)

    @property
    def _store(self) -> Path:
        return self._home.root / "embeddings"

    @property
    def _hash_file(self) -> Path:
        return self._store / f"{self._name}.hash"

    @property
    def _text_file(self) -> Path:
        return self._store / f"{self._name}.npz"


def likeness(embeddings: Embeddings, tasks: Sequence[Task], texts: Sequence[str]) -> npt.NDArray[np.float64]:
    """Cosine of every text to every task, (tasks, texts); where there is no text, the mean over those that there are.

    Rounded, so that a rerun decides alike.
    """
    toward = embeddings.tasks(tasks)
    unit = toward / np.maximum(np.linalg.norm(toward, axis=1, keepdims=True), 1e-9)
    found = (unit @ embeddings.texts(texts).T).astype(np.float64)
    told = np.asarray([bool(text) for text in texts])
    found[:, ~told] = found[:, told].mean(axis=1, keepdims=True) if told.any() else 0.0
    return np.asarray(np.round(found, 4))


def _save_named(part: Path, vectors: Mapping[str, Vectors]) -> None:
    with part.open("wb") as file:
        np.savez(file, names=np.asarray(list(vectors)), vectors=np.stack(list(vectors.values())))


def _save(part: Path, vector: Vectors) -> None:
    with part.open("wb") as file:
        np.save(file, vector, allow_pickle=False)
