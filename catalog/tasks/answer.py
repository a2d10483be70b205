"""Answers: what running one row gives. A text, the options' log-probabilities, or why there is neither.

Knows: the three kinds, and what a text says of how it ended. Does not know: how they are made, kept or scored.
"""

from __future__ import annotations

from collections.abc import Iterable
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


class Text(str):
    """A generated text that says how it ended.

    Args:
        text: the answer.
        cut: whether the bound on its tokens ended it, and neither a stop nor an end-of-text token; None where an older
            version made it and did not say.
    """

    __slots__ = ("cut",)
    cut: bool | None

    def __new__(cls, text: str, cut: bool | None = None) -> Text:
        """A text with how it ended."""
        made = super().__new__(cls, text)
        made.cut = cut
        return made


Answer = str | OptionLogprobs | Failed


@dataclass(frozen=True, slots=True)
class Endings:
    """How many of some texts say nothing, and how many were cut: signs of a prompt that was not understood.

    Args:
        texts: how many there are; answers of other kinds do not count.
        empty: of them those without a word.
        cut: of them those that are known to have been ended by their bound.
    """

    texts: int = 0
    empty: int = 0
    cut: int = 0

    def __add__(self, other: Endings) -> Endings:
        return Endings(self.texts + other.texts, self.empty + other.empty, self.cut + other.cut)

    @property
    def mostly_empty(self) -> bool:
        """Whether more than half of the texts say nothing."""
        return 2 * self.empty > self.texts

    @property
    def mostly_cut(self) -> bool:
        """Whether more than half of the texts were cut."""
        return 2 * self.cut > self.texts


def endings_of(answers: Iterable[Answer]) -> Endings:
    """How the texts among some answers ended."""
    texts = [answer for answer in answers if isinstance(answer, str)]
    empty = sum(not text.strip() for text in texts)
    return Endings(len(texts), empty, sum(bool(getattr(text, "cut", None)) for text in texts))
