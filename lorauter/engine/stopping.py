"""Stopping: an answer's text as its tokens come, and where it ends.

Knows: stops, detokenising. Does not know: end-of-text tokens, bounds (lorauter/engine), how stops are given
(lorauter/engine/decoding).

A stop can only be completed by the token that brings its last character. So a text is made anew where the token may do
that, and not at every token: a long answer would cost as much again as its square.

A special token (`<|im_end|>`, `</s>`) is no part of an answer's text. So a stop that is one, or begins with one, is
looked for among the tokens too, and ends an answer as an end-of-text token does: even one that has no text yet.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lorauter.engine.decoding import may_be_special, stops_of

KEPT_STOPS = 16  # sets of stops whose tokens are remembered
_BROKEN = "\ufffd"  # what a tokenizer writes for part of a character


def cut_at_stop(text: str, stop: str | Sequence[str]) -> tuple[str, bool]:
    """The answer in a generated text, and whether the text has reached a stop.

    Leading whitespace is stripped; what remains starts with non-space text and is cut before the
    first of the stops that comes after its first character. An empty stop is never reached.
    """
    answer = text.lstrip()
    ends = [end for one in stops_of(stop) if (end := answer.find(one, 1)) >= 0]
    return (answer[: min(ends)], True) if ends else (answer, False)


class Stopping:
    """The stops of a batch, by a tokenizer's tokens.

    Args:
        tokenizer: of the base.
        stops: texts that end an answer.
    """

    def __init__(self, tokenizer: Any, stops: Sequence[str]) -> None:
        self._tokenizer = tokenizer
        self._stops = stops
        self._last = {stop[-1] for stop in stops}
        self._may: dict[int, bool] = {}
        self._special = _by_special_token(tokenizer, stops)
        longest = max((len(stop.encode()) for own in self._special.values() for stop, _ in own), default=0)
        self._reach = longest if any(more for own in self._special.values() for _, more in own) else 1

    def special_start(self, tokens: Sequence[int]) -> int | None:
        """Where a stop begins that a special token opens and that the last of these tokens completes; None for none."""
        if not self._special:
            return None
        for place in range(max(0, len(tokens) - self._reach), len(tokens)):
            for stop, more in self._special.get(tokens[place], ()):
                if not more or self._tokenizer.decode(tokens[place:], skip_special_tokens=False).startswith(stop):
                    return place
        return None

    def cut(self, tokens: Sequence[int]) -> tuple[str, bool]:
        """The answer in some tokens, special ones left out, and whether it has reached a stop."""
        return cut_at_stop(self._tokenizer.decode(tokens, skip_special_tokens=True), self._stops)

    def may_complete(self, token: int) -> bool:
        """Whether a text that ends with this token may have reached a stop that it had not reached before."""
        if not self._stops:
            return False
        if token not in self._may:
            text = self._tokenizer.decode([token], skip_special_tokens=True)
            # A token alone may lose its spaces, and says nothing where it is part of a character.
            unclear = not text or _BROKEN in text or " " in self._last
            self._may[token] = unclear or not self._last.isdisjoint(text)
        return self._may[token]


def _by_special_token(tokenizer: Any, stops: Sequence[str]) -> dict[int, list[tuple[str, bool]]]:
    """The stops that a special token opens, by that token, and whether more follows it in the stop.

    Only stops that `may_be_special` are looked at: the ledger tells texts under those alone from the texts of engines
    that did not look for special tokens.
    """
    opened: dict[int, list[tuple[str, bool]]] = {}
    looked_at = [stop for stop in stops if may_be_special(stop)]
    special = _special_tokens(tokenizer) if looked_at else {}
    for stop in looked_at:
        longest = max((text for text in special if stop.startswith(text)), key=len, default="")
        if longest and not tokenizer.decode([special[longest]], skip_special_tokens=True):
            opened.setdefault(special[longest], []).append((stop, stop != longest))
    return opened


def _special_tokens(tokenizer: Any) -> dict[str, int]:
    try:
        return {token.content: id_ for id_, token in tokenizer.added_tokens_decoder.items() if token.special}
    except NotImplementedError:  # transformers' tokenizers of mistral-common
        return dict(zip(tokenizer.all_special_tokens, tokenizer.all_special_ids, strict=True))


class Stoppings:
    """A `Stopping` for each set of stops, kept from batch to batch: it learns the tokens.

    Args:
        tokenizer: of the base.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._kept: dict[tuple[str, ...], Stopping] = {}

    def of(self, stops: tuple[str, ...]) -> Stopping:
        """The one of these stops. Where too many are kept, all are forgotten."""
        if stops not in self._kept:
            if len(self._kept) >= KEPT_STOPS:
                self._kept.clear()
            self._kept[stops] = Stopping(self._tokenizer, stops)
        return self._kept[stops]
