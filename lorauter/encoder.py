"""Encoder: texts to unit vectors; the owner of sentence-transformers.

Knows: a sentence-transformers model folder, its prompt, and the hash that is its identity.
Does not know: tasks, queries, or what a similarity is used for (lorauter/task_index, routers).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from catalog.errors import SettingError
from lorauter.device import choose_device

Vectors = npt.NDArray[np.float32]
BATCH = 64
HASHED = ("*.safetensors", "*.json")


class Encoder:
    """A frozen sentence encoder.

    Args:
        path: folder of a sentence-transformers model; weights in safetensors.
        prompt: text put before every input, e.g. an INSTRUCTOR instruction; "" for none.
        device: see `choose_device`.

    Raises:
        SettingError: the folder is no such model, or the device is wrong.
    """

    def __init__(self, path: Path | str, *, prompt: str = "", device: str = "auto") -> None:
        self.path = Path(path)
        self.prompt = prompt
        self.hash = _hash_of(self.path, prompt)
        self._model = _load(self.path, choose_device(device))

    @property
    def id(self) -> str:
        """`folder-name:hash`: printable, and different wherever vectors may differ."""
        return f"{self.path.name}:{self.hash}"

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        return int(self._model.get_embedding_dimension())

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Unit vectors of the texts: (n, d) float32, L2-normalised.

        A text's vector does not depend on its neighbours beyond rounding (1e-6): padding is masked,
        and batches are made of texts of similar length.
        """
        if not texts:
            return np.zeros((0, self.dimension), dtype=np.float32)
        vectors = self._model.encode(
            list(texts),
            prompt=self.prompt or None,
            batch_size=BATCH,
            show_progress_bar=False,
            convert_to_numpy=True,
            normalize_embeddings=True,
        )
        return np.asarray(vectors, dtype=np.float32)


def _load(path: Path, device: str) -> Any:
    from sentence_transformers import SentenceTransformer

    try:
        return SentenceTransformer(str(path), device=device, local_files_only=True).float().eval()
    except (OSError, ValueError) as error:
        raise SettingError(f"The encoder in {path} cannot be read ({error}).", "Check the folder.") from error


def _hash_of(path: Path, prompt: str) -> str:
    """SHA-256 over the folder's weights and JSON files, in the order of their names, and the prompt."""
    files = sorted(file for pattern in HASHED for file in path.rglob(pattern))
    if not any(file.suffix == ".safetensors" for file in files):
        raise SettingError(f"The encoder in {path} has no safetensors weights.", "Check the folder.")
    digest = hashlib.sha256(prompt.encode("utf-8"))
    for file in files:
        digest.update(file.relative_to(path).as_posix().encode("utf-8"))
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()[:16]
