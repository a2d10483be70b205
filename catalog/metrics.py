"""Metrics: how a text is compared with its reference, and what a mean is worth.

Knows: the metrics by name, what each needs from the engine, means and standard errors.
Does not know: tasks, adapters, how texts come about. A metric reduces; the engine produces.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from rouge_score.rouge_scorer import RougeScorer


@dataclass(frozen=True, slots=True)
class Metric:
    """A named metric. `score(text, target)` is in [0, 1]; `needs` says what the engine must produce."""

    name: str
    needs: Literal["text"]
    score: Callable[[str, str], float]


@dataclass(frozen=True, slots=True)
class Mean:
    """A mean over `n` examples with its standard error (sample standard deviation / sqrt n)."""

    mean: float
    standard_error: float
    n: int


def normalise(text: str) -> str:
    """Strip, lower-case and drop full stops: the exact-match rule of LORAUTER (arXiv 2601.21795, code)."""
    return text.strip().lower().replace(".", "").strip()


def exact_match(text: str, target: str) -> float:
    """1.0 where text and target are equal after `normalise`; the reference is cut at its first blank line."""
    return float(normalise(text) == normalise(target.split("\n\n", maxsplit=1)[0]))


def rouge_l(text: str, target: str) -> float:
    """ROUGE-L F1 as the `rouge-score` library computes it, without stemming."""
    return float(_rouge_scorer().score(target, text)["rougeL"].fmeasure)


@cache
def _rouge_scorer() -> RougeScorer:
    from rouge_score.rouge_scorer import RougeScorer  # imports nltk: only where ROUGE is used

    return RougeScorer(["rougeL"], use_stemmer=False)


METRICS: dict[str, Metric] = {
    "exact_match": Metric("exact_match", "text", exact_match),
    "rouge_l": Metric("rouge_l", "text", rouge_l),
}


def mean(values: Sequence[float]) -> Mean:
    """Mean, standard error and n. An empty sequence has mean nan and n 0; one value has an infinite error."""
    n = len(values)
    if n == 0:
        return Mean(math.nan, math.inf, 0)
    centre = math.fsum(values) / n
    if n == 1:
        return Mean(centre, math.inf, 1)
    variance = math.fsum((v - centre) ** 2 for v in values) / (n - 1)
    return Mean(centre, math.sqrt(variance / n), n)


def majority_answer(targets: Sequence[str]) -> str:
    """The most frequent target; ties go to the one that sorts first, so that reruns agree."""
    counts = Counter(targets)
    return min(counts, key=lambda target: (-counts[target], target)) if counts else ""
