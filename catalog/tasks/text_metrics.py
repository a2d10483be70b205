"""Metrics of a text against a reference text, without a library: exact match and token F1.

Knows: LORAUTER's normalisation, SQuAD's. Does not know: options (catalog/tasks/option_metrics), n-grams
(catalog/tasks/overlap_metrics).
"""

from __future__ import annotations

import re
import string
from collections import Counter

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalise(text: str) -> str:
    """Strip, lower-case and drop full stops, in this order: the exact-match rule of LORAUTER (arXiv 2601.21795).

    The space of "hungry ." stays, and decides: stripped once more, the authors' own predictions score up to half a
    point above their table.
    """
    return text.strip().lower().replace(".", "")


def exact_match(text: str, target: str) -> float:
    """1.0 where text and target are equal after `normalise`; the reference is cut at its first blank line."""
    return float(normalise(text) == normalise(target.split("\n\n", maxsplit=1)[0]))


def token_f1(text: str, target: str) -> float:
    """F1 of the words in common, counted, as SQuAD does: without case, punctuation and articles."""
    ours, theirs = _squad_words(text), _squad_words(target)
    if not ours or not theirs:
        return float(ours == theirs)
    common = sum((Counter(ours) & Counter(theirs)).values())
    return 2 * common / (len(ours) + len(theirs))


def _squad_words(text: str) -> list[str]:
    return _ARTICLES.sub(" ", text.lower().translate(_NO_PUNCTUATION)).split()
