"""Answers under way: the tokens of each row of a batch so far, and when an answer is done.

Knows: bounds, end-of-text tokens. Does not know: how a token is chosen (lorauter/engine/sampling), what a stop is
(lorauter/engine/stopping), models.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from catalog.errors import SettingError
from lorauter.engine.stopping import Stopping


@dataclass(slots=True)
class Answer:
    """One row's answer.

    Args:
        limit: bound on its tokens.
        tokens: its tokens so far, without the end-of-text token or the special tokens' stop that ended it.
        text: what it says, once it is done.
        done: whether it has ended.
        cut: whether its bound ended it, and nothing else did.
    """

    limit: int
    tokens: list[int] = field(default_factory=list)
    text: str = ""
    done: bool = False
    cut: bool = False

    def take(self, token: int, ends: Collection[int], stopping: Stopping) -> None:
        """Adds a token where the answer is not done, and ends it where the rule says so."""
        if self.done:
            return
        ended = token in ends
        if not ended:
            self.tokens.append(token)
            if (start := stopping.special_start(self.tokens)) is not None:
                del self.tokens[start:]
                ended = True
        full = len(self.tokens) >= self.limit
        if ended or full or stopping.may_complete(token):
            self.text, stopped = stopping.cut(self.tokens)
            self.done = ended or full or stopped
            self.cut = full and not ended and not stopped


def limits_of(max_new_tokens: int | Sequence[int], rows: int) -> list[int]:
    """The bound of each row. Raises SettingError for one below 1, or another number of them than of rows."""
    limits = [max_new_tokens] * rows if isinstance(max_new_tokens, int) else list(max_new_tokens)
    if len(limits) != rows or any(limit < 1 for limit in limits):
        raise SettingError("max_new_tokens is wrong.", "Give one bound of at least 1, or one a row.")
    return limits


def samples_of(samples: Sequence[str] | None, rows: int) -> Sequence[str]:
    """The name of each row's draws, "" where none are given. Raises SettingError for another number than of rows."""
    if samples is not None and len(samples) != rows:
        raise SettingError(f"There are {len(samples)} samples for {rows} prompts.", "Give one a row, or none.")
    return [""] * rows if samples is None else samples


def dropping_pays(kept: int, rows: int) -> bool:
    """Whether rows that are done are left out: that copies the cache, about as dear as an eighth of a step's rows."""
    return rows - kept >= max(1, rows // 8)
