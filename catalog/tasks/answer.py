"""Answers: what running one row gives. A text, the options' log-probabilities, or why there is neither.

Knows: the three kinds. Does not know: how they are made, kept or scored.
"""

from __future__ import annotations

from dataclasses import dataclass

from catalog.tasks.option_metrics import OptionLogprobs


@dataclass(frozen=True, slots=True)
class Failed:
    """An output that cannot be made. It is kept like any other, and tried again by another version of the engine only.

    Args:
        error: why.
        engine: version of the engine that could not make it.
    """

    error: str
    engine: str = ""


Answer = str | OptionLogprobs | Failed
