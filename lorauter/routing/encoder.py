"""Encoder: texts to unit vectors; the owner of sentence-transformers.

Knows: a sentence-transformers model folder, its prompt, the hash that is its identity, and a fast way in bfloat16.
Does not know: tasks, queries, or what a similarity is used for (lorauter/routing/task_index, routers).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from catalog.errors import SettingError
from lorauter.device import DTYPES, choose_device, choose_dtype

Vectors = npt.NDArray[np.float32]
BATCH = 64
STEP = 16  # tokens: lengths are padded to a multiple of it
TOKENS = {"cpu": 2048, "cuda": 65536}  # of a batch in half precision: the CPU's caches hold a small one
HASHED = ("*.safetensors", "*.json")


class Encoder:
    """A frozen sentence encoder.

    Args:
        path: folder of a sentence-transformers model; weights in safetensors.
        prompt: text put before every input, e.g. an INSTRUCTOR instruction; "" for none.
        device: see `choose_device`.
        dtype: what the transformer computes in, see `choose_dtype`; pooling is float32 always. Vectors that are kept
            are made in float32; queries in bfloat16 are at a cosine of 0.999 to those.

    Raises:
        SettingError: the folder is no such model, or the device or dtype is wrong.
    """

    def __init__(self, path: Path | str, *, prompt: str = "", device: str = "auto", dtype: str = "float32") -> None:
        self.path = Path(path)
        self.prompt = prompt
        self.hash = _hash_of(self.path, prompt)
        device = choose_device(device)
        self._model = _load(self.path, device)
        self.dtype = choose_dtype(dtype, device) if _has_transformer(self._model) else "float32"
        if self.dtype != "float32":
            _halve(self._model, self.dtype)

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
        and batches are made of texts of similar length. In half precision rounding would show in the fourth digit, so
        there all texts of a batch are padded to one length, which each has of itself.
        """
        if self.dtype == "float32":
            return self._batches(texts, BATCH)
        vectors = np.zeros((len(texts), self.dimension), dtype=np.float32)
        lengths = self._padded_lengths(texts)
        for length in np.unique(lengths):
            rows = np.flatnonzero(lengths == length)
            batch = max(1, TOKENS[self._model.device.type] // int(length))
            vectors[rows] = self._batches([texts[row] for row in rows.tolist()], batch)
        return vectors

    def _batches(self, texts: Sequence[str], batch: int) -> Vectors:
        if not texts:
            return np.zeros((0, self.dimension), dtype=np.float32)
        vectors = self._model.encode(
            list(texts),
            prompt=self.prompt or None,
            batch_size=batch,
            show_progress_bar=False,
            convert_to_numpy=True,
            normalize_embeddings=True,
            **({} if self.dtype == "float32" else {"processing_kwargs": {"text": {"pad_to_multiple_of": self._step}}}),
        )
        return np.asarray(vectors, dtype=np.float32)

    def _padded_lengths(self, texts: Sequence[str]) -> npt.NDArray[np.int64]:
        """Tokens of each text, cut as the model cuts and rounded up to whole steps."""
        if not texts:
            return np.zeros(0, dtype=np.int64)
        cut = self._model.max_seq_length
        read = self._model.tokenizer([self.prompt + text for text in texts], truncation=cut is not None, max_length=cut)
        lengths = np.asarray([len(ids) for ids in read["input_ids"]], dtype=np.int64)
        return -(-lengths // self._step) * self._step

    @property
    def _step(self) -> int:
        """1 where padding to whole steps would make a text longer than the model reads."""
        return STEP if (self._model.max_seq_length or 0) % STEP == 0 else 1


def _load(path: Path, device: str) -> Any:
    from sentence_transformers import SentenceTransformer

    try:
        return SentenceTransformer(str(path), device=device, local_files_only=True).float().eval()
    except (OSError, ValueError) as error:
        raise SettingError(f"The encoder in {path} cannot be read ({error}).", "Check the folder.") from error


def _has_transformer(model: Any) -> bool:
    """Models of word vectors have none; they gain nothing in half precision."""
    from sentence_transformers.models import Transformer

    return isinstance(model[0], Transformer)


def _halve(model: Any, dtype: str) -> None:
    """Half precision for the transformer alone: a mean over tokens rounded to it costs ten times as much accuracy."""
    from torch import Tensor

    def whole(_: object, __: object, features: dict[str, Any]) -> dict[str, Any]:
        halves = {n: value for n, value in features.items() if isinstance(value, Tensor) and value.is_floating_point()}
        return features | {name: value.float() for name, value in halves.items()}

    model[0].to(DTYPES[dtype])
    model[0].register_forward_hook(whole)


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
