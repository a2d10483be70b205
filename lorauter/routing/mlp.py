"""A multilayer perceptron as its weights: logits of sentence embeddings. Knows: NumPy. Does not know: training."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]


def forward(layers: Sequence[tuple[Floats, Floats]], x: Floats) -> Floats:
    """(rows, d) → (rows, out): y = W x + b at every layer, ReLU between them.

    Args:
        layers: (W, b), W of (d_out, d_in).
    """
    for number, (weight, bias) in enumerate(layers):
        x = x @ weight.T + bias
        if number < len(layers) - 1:
            x = np.maximum(x, 0.0)
    return np.asarray(x, dtype=np.float32)
