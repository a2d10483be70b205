"""What is known of pool and tasks before anything is evaluated: texts of cards, and how they resemble the tasks.

Knows: which lines of a card count, cosines of texts and task embeddings. Does not know: outcomes; any encoder.

A card is believed as a stranger's would be: its control paragraph ("the targets were permuted") is left out, as a bad
adapter's card does not say that it is bad. The task's side is the mean embedding of its training inputs, which is what
a catalog has; descriptions, which cards quote word for word, are not compared with.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from warehouse.files import write_text

Encode = Callable[[Sequence[str]], npt.NDArray[np.float32]]
Floats = npt.NDArray[np.float64]


def card_text(repo: str, folder: Path) -> str:
    """The repo's name and what its card says it was trained on."""
    card = next(path for path in (folder / "README.md", *(p / "README.md" for p in folder.parents)) if path.exists())
    lines = [line[2:] for line in card.read_text(encoding="utf-8").splitlines() if line.startswith("- `")]
    return " ".join([repo.partition("/")[2].replace("-", " "), *lines])


def write_prior(
    path: Path, tasks: Sequence[str], embeddings: npt.NDArray[np.float32], texts: Mapping[str, str], encode: Encode
) -> None:
    """Cosine of every adapter's text to every task, rounded to 4 digits."""
    tasks_unit = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    cards = encode(list(texts.values()))
    cards_unit = cards / np.maximum(np.linalg.norm(cards, axis=1, keepdims=True), 1e-9)
    found: dict[str, Any] = {
        "tasks": list(tasks),
        "adapters": list(texts),
        "texts": list(texts.values()),
        "card_likeness": np.round(tasks_unit @ cards_unit.T, 4).astype(float).tolist(),
    }
    write_text(path, json.dumps(found, indent=1) + "\n")


def read_prior(path: Path, tasks: Sequence[str], adapters: Sequence[str]) -> Floats:
    """Likeness of cards to tasks: (tasks, adapters), in the given orders."""
    found = json.loads(path.read_text(encoding="utf-8"))
    rows = [found["tasks"].index(task) for task in tasks]
    columns = [found["adapters"].index(adapter) for adapter in adapters]
    return np.asarray(found["card_likeness"], dtype=np.float64)[np.ix_(rows, columns)]
