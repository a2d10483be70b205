"""An encoder that embeds a text once. Knows texts, vectors and what embedding costs; not what vectors are for."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np

from lorauter.routing.encoder import Encoder, Vectors


class Remembering(Encoder):
    """Another encoder with a memory.

    Attributes:
        owed: seconds that the texts remembered so far would have taken, by the mean of those embedded: added to a
            router's own seconds, they say what it would have taken alone.
    """

    def __init__(self, encoder: Encoder) -> None:
        self.path, self.prompt, self.hash = encoder.path, encoder.prompt, encoder.hash
        self._encoder = encoder
        self._known: dict[str, Vectors] = {}
        self._spent = self.owed = 0.0

    @classmethod
    def loaded(cls, load: Callable[[], Encoder]) -> Remembering:
        """Over an encoder that is loaded now; the seconds of that are nobody's, so they are taken off."""
        began = time.perf_counter()
        encoder = cls(load())
        encoder.owed = began - time.perf_counter()
        return encoder

    @property
    def dimension(self) -> int:
        """As the encoder's."""
        return self._encoder.dimension

    def encode(self, texts: Sequence[str]) -> Vectors:
        """As the encoder's, float32 (n, d)."""
        new = list(dict.fromkeys(text for text in texts if text not in self._known))
        if new:
            began = time.perf_counter()
            self._known.update(zip(new, self._encoder.encode(new), strict=True))
            self._spent += time.perf_counter() - began
        self.owed += (len(texts) - len(new)) * self._spent / max(len(self._known), 1)
        vectors = [self._known[text] for text in texts]
        return np.stack(vectors) if vectors else np.zeros((0, self.dimension), dtype=np.float32)
