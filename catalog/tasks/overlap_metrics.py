"""Metrics of n-grams in common, from libraries: BLEU and ROUGE.

Knows: which library, with which settings, gives which published figure. Does not know: the formulas.

Two ROUGE libraries on purpose. `rouge-score` is Google's, the field's usual one. LORAUTER's struct-to-text figures
(arXiv 2601.21795) are the mean of what `rouge` says, which counts each n-gram once and keeps case: on the authors' own
predictions 53.0 against 55.2 for the oracle, and only the former adds up to their table.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import redirect_stderr
from fractions import Fraction
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rouge import Rouge
    from rouge_score.rouge_scorer import RougeScorer

STRUCT_WORDS = 300  # `rouge` recurses once a word of both texts: longer ones would end Python's stack


def bleu(text: str, target: str) -> float:
    """Sentence BLEU-4 of words between spaces, not smoothed: 0 where one of the four n-gram orders has no match."""
    from nltk.translate.bleu_score import sentence_bleu

    score = float(sentence_bleu([target.split()], text.split(), smoothing_function=_unsmoothed))
    return score if score > 1e-50 else 0.0  # float_info.min to the quarter is 1e-77


def rouge_1(text: str, target: str) -> float:
    """ROUGE-1 F1 as the `rouge-score` library computes it, without stemming."""
    return _rouge("rouge1", text, target)


def rouge_2(text: str, target: str) -> float:
    """ROUGE-2 F1 as the `rouge-score` library computes it, without stemming."""
    return _rouge("rouge2", text, target)


def rouge_l(text: str, target: str) -> float:
    """ROUGE-L F1 as the `rouge-score` library computes it, without stemming."""
    return _rouge("rougeL", text, target)


def struct_to_text(text: str, target: str) -> float:
    """Mean F1 of ROUGE-1, -2 and -L as the `rouge` library computes them: LORAUTER's metric of struct-to-text."""
    ours, theirs = (" ".join(words.split()[:STRUCT_WORDS]) for words in (text, target))
    if not ours.strip(". ") or not theirs.strip(". "):
        return 0.0  # the library refuses texts without a sentence
    scores = _paper_scorer().get_scores(ours, theirs)[0]
    return float(sum(score["f"] for score in scores.values()) / len(scores))


def _rouge(kind: str, text: str, target: str) -> float:
    return float(_rouge_scorer(kind).score(target, text)[kind].fmeasure)


def _unsmoothed(precisions: Sequence[Fraction], **_: Any) -> list[Fraction | float]:
    """NLTK's method 0 without its warning: a precision of 0 stays as near to 0 as its logarithm allows."""
    return [precision or sys.float_info.min for precision in precisions]


@cache
def _rouge_scorer(kind: str) -> RougeScorer:
    # Imported where it is used, for it imports nltk; and with the process's own stderr, for it imports absl, whose
    # log handler closes the stderr it first met as soon as logging is set up anew, as uvicorn does.
    with redirect_stderr(sys.__stderr__):
        from rouge_score.rouge_scorer import RougeScorer

    return RougeScorer([kind], use_stemmer=False)


@cache
def _paper_scorer() -> Rouge:
    from rouge import Rouge

    return Rouge()
