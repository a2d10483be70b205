"""What is known of pool and tasks before anything is evaluated: texts of cards, and how they resemble the tasks.

Knows: which paragraph of a card is left out, cosines of texts and task embeddings. Does not know: outcomes, any
encoder.

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

from catalog.adapters.card import CARD_NAME, card_text, name_text
from warehouse.storage.files import write_text

Encode = Callable[[Sequence[str]], npt.NDArray[np.float32]]
Floats = npt.NDArray[np.float64]


def shown_text(repo: str, folder: Path) -> str:
    """What scoring reads of an adapter: its name's words and its card's, less the paragraph that calls it a control."""
    card = next(path for path in (folder / CARD_NAME, *(p / CARD_NAME for p in folder.parents)) if path.exists())
    paragraphs = card.read_text(encoding="utf-8").split("\n\n")
    return f"{name_text(repo)} {card_text(chr(10).join(p for p in paragraphs if 'not for use' not in p))}"


def write_prior(
    path: Path, tasks: Sequence[str], embeddings: npt.NDArray[np.float32], texts: Mapping[str, str], encode: Encode
) -> None:
    """Cosine of every adapter's card, and of its name, to every task, rounded to 4 digits."""
    tasks_unit = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)

    def likeness(written: Sequence[str]) -> list[list[float]]:
        found = encode(written)
        unit = found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-9)
        cosines = (tasks_unit @ unit.T).astype(float)
        told = np.asarray([bool(text) for text in written])  # the base has no card: the mean, as scoring takes it
        cosines[:, ~told] = cosines[:, told].mean(axis=1, keepdims=True)
        likeness: list[list[float]] = np.round(cosines, 4).tolist()
        return likeness

    found: dict[str, Any] = {
        "tasks": list(tasks),
        "adapters": list(texts),
        "texts": list(texts.values()),
        "card_likeness": likeness(list(texts.values())),
        "name_likeness": likeness([name_text(repo) for repo in texts]),
    }
    write_text(path, json.dumps(found, indent=1) + "\n")


def read_prior(path: Path, tasks: Sequence[str], adapters: Sequence[str], of: str = "card") -> Floats:
    """Likeness of cards, or of names, to tasks: (tasks, adapters), in the given orders."""
    found = json.loads(path.read_text(encoding="utf-8"))
    rows = [found["tasks"].index(task) for task in tasks]
    columns = [found["adapters"].index(adapter) for adapter in adapters]
    return np.asarray(found[f"{of}_likeness"], dtype=np.float64)[np.ix_(rows, columns)]
