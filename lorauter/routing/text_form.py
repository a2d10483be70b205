"""The form of a text: template, options, punctuation, lines. What a sentence encoder averages away.

Knows: which n-grams make up a form, how rare ones are weighed. Does not know: tasks, meaning
(lorauter/routing/encoder).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Sparse = Any
"""scipy.sparse.csr_matrix, float64."""

VIEWS = {"words": 0.5, "characters": 0.5, "ends": 1.0, "lines": 0.3}
"""Share of each view in an inner product of two forms."""
COLUMNS = 2**20  # of a view's hash table: tens of thousands are in use, so few collide
LONGEST = 4096  # characters looked at, half from either end: bounds the cost of a hostile text
LEAST_TEXTS = 2  # an n-gram of one text alone is content
END = 8  # words; a template speaks first or last
_LENGTHS = (0, 3, 10, 25)  # words of a line: empty, a word or option, a phrase, a sentence, a paragraph
_WORD = re.compile(r"\w+|[^\w\s]|\n")


class TextForm:
    """tf-idf of four views, fitted on the texts it is made from: a view's vector has length √share, or 0.

    tf is 1 + log(count), idf is log((1 + n) / (1 + df)) + 1 as in scikit-learn, and 0 for n-grams of fewer than
    LEAST_TEXTS texts.
    """

    def __init__(self, counts: Sequence[Sparse]) -> None:
        self._idf = [_idf(view) for view in counts]

    def weigh(self, counts: Sequence[Sparse]) -> list[Sparse]:
        """Vectors of counted texts: a CSR (texts, COLUMNS) a view."""
        from sklearn.preprocessing import normalize

        weighed = []
        for view, idf, share in zip(counts, self._idf, VIEWS.values(), strict=True):
            tf = view.copy()
            tf.data = (1 + np.log(tf.data)) * idf[tf.indices]
            weighed.append(normalize(tf, copy=False) * share**0.5)
        return weighed


def count_ngrams(texts: Sequence[str]) -> list[Sparse]:
    """Occurrences of each view's hashed n-grams: one CSR (texts, COLUMNS) a view. Depends on nothing but the texts."""
    from sklearn.feature_extraction.text import HashingVectorizer

    cut = [_cut(text) for text in texts]
    plain = {"n_features": COLUMNS, "norm": None, "alternate_sign": False, "lowercase": False}
    return [HashingVectorizer(**plain, **_ANALYSERS[view]).transform(cut) for view in VIEWS]


def _idf(counts: Sparse) -> npt.NDArray[np.float64]:
    texts = np.bincount(counts.indices, minlength=COLUMNS)
    return np.where(texts >= LEAST_TEXTS, np.log((1 + counts.shape[0]) / (1 + texts)) + 1, 0.0)


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[: LONGEST // 2]}\n{text[-LONGEST // 2 :]}"


def _words(text: str) -> Iterator[str]:
    """1- to 5-grams of words, punctuation and line ends."""
    return _ngrams(_WORD.findall(text.lower()), 5)


def _ends(text: str) -> Iterator[str]:
    """1- to 4-grams of the first and of the last words, each marked with its end."""
    words = _WORD.findall(text.lower())
    yield from (f"first {gram}" for gram in _ngrams(words[:END], 4))
    yield from (f"last {gram}" for gram in _ngrams(words[-END:], 4))


def _lines(text: str) -> Iterator[str]:
    """1- to 4-grams of lines, each as its bullet or quote and a class of length; and how many there are."""
    lines = [_WORD.findall(line) for line in text.split("\n")]
    yield from _ngrams(["start", *(_shape(line) for line in lines), "end"], 4)
    yield f"lines {min(len(lines), 12)}"


def _shape(words: Sequence[str]) -> str:
    mark = words[0] if words and not words[0][0].isalnum() else "word"
    return f"{mark}{sum(len(words) > length for length in _LENGTHS)}"


def _ngrams(items: Sequence[str], longest: int) -> Iterator[str]:
    for n in range(1, longest + 1):
        for start in range(len(items) - n + 1):
            yield " ".join(items[start : start + n])


_ANALYSERS: dict[str, dict[str, Any]] = {
    "words": {"analyzer": _words},
    "characters": {"analyzer": "char", "ngram_range": (1, 5)},
    "ends": {"analyzer": _ends},
    "lines": {"analyzer": _lines},
}
