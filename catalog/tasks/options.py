"""Answer options: how a prompt lists them, and which one a text names.

Knows: letters "(B)", "B." and option texts, the two well-known layouts of a list. Does not know: metrics.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from catalog.tasks.text_metrics import normalise

_LIST = re.compile(r"^options:[ \t]*\n((?:(?:- |\([A-Z]\) ).*(?:\n|\Z))+)", re.IGNORECASE | re.MULTILINE)
_MARK = re.compile(r"^(?:- |\([A-Z]\) )", re.MULTILINE)
_LETTER = re.compile(r"\(?([A-Z])[).:]?")
_BRACKETED = re.compile(r"\(([A-Z])\)")
_LEADING = re.compile(r"([A-Z])[).:](?=\s)")


def options_in(prompt: str) -> tuple[str, ...]:
    """Options that a prompt lists below a line "Options:", as FLAN ("- yes") and BIG-Bench Hard ("(A) yes") do."""
    lists = _LIST.findall(prompt)
    return tuple(text.strip() for text in _MARK.split(lists[-1])[1:]) if lists else ()


def index_of(answer: str, options: Sequence[str]) -> int | None:
    """Index of the option that an answer is, as text or as letter alone; None where it is neither."""
    texts = [_folded(option) for option in options]
    if _folded(answer) in texts:
        return texts.index(_folded(answer))
    letter = _LETTER.fullmatch(answer.strip())
    return _by_letter(letter[1], options) if letter else None


def named_option(text: str, options: Sequence[str]) -> int | None:
    """Index of the one option that a longer text names, up to its first blank line; None for none or several.

    A letter counts in brackets or at the start ("B. Rome"), since a bare A or I is a word. Of options that contain
    each other ("entailed", "not entailed") the longer one is meant.
    """
    answer = _first_paragraph(text)
    if (index := index_of(answer, options)) is not None:
        return index
    letters = {*_BRACKETED.findall(answer), *(m[1] for m in [_LEADING.match(answer)] if m)}
    if len(letters) == 1 and (index := _by_letter(letters.pop(), options)) is not None:
        return index
    named = {index_of(words, options) for words in _option_texts(_folded(answer), options)}
    return named.pop() if len(named) == 1 else None


def says(text: str, target: str) -> bool:
    """Whether a target stands in a text as whole words, up to the text's first blank line."""
    return bool(_option_texts(_folded(_first_paragraph(text)), [target]))


def _folded(text: str) -> str:
    return normalise(text).strip()


def _first_paragraph(text: str) -> str:
    return text.strip().split("\n\n", maxsplit=1)[0]


def _by_letter(letter: str, options: Sequence[str]) -> int | None:
    index = ord(letter) - ord("A")
    return index if index < len(options) else None


def _option_texts(answer: str, options: Sequence[str]) -> list[str]:
    """Option texts that stand in an answer as whole words, longer ones first: no text is found inside another."""
    texts = sorted({_folded(option) for option in options} - {""}, key=len, reverse=True)
    return re.findall(rf"(?<!\w)(?:{'|'.join(map(re.escape, texts))})(?!\w)", answer) if texts else []
