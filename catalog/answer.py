"""Answers: what running one row gives. A text, the options' log-probabilities, or why there is neither.

Knows: the three kinds. Does not know: how they are made, kept or scored.
"""

from __future__ import annotations

from dataclasses import dataclass

from catalog.option_metrics import OptionLogprobs


@dataclass(frozen=True, slots=True)
class Failed:
    """An output that cannot be made: `error` says why. It is kept like any other, and not tried again."""

    error: str


Answer = str | OptionLogprobs | Failed
