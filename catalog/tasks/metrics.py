"""Metrics: the table of them by name, and what a mean is worth.

Knows: what each metric needs from the engine, per example scores, means and standard errors.
Does not know: tasks, adapters, how texts come about. A metric reduces; the engine produces.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from catalog.errors import TaskError
from catalog.plugins import Origin, Registry
from catalog.tasks.option_metrics import (
    OptionLogprobs,
    lenient_match,
    option_loglikelihood,
    option_loglikelihood_norm,
)
from catalog.tasks.overlap_metrics import bleu, rouge_1, rouge_2, rouge_l, struct_to_text
from catalog.tasks.text_metrics import exact_match, normalise, token_f1

__all__ = [
    "METRICS",
    "Mean",
    "Metric",
    "OptionLogprobs",
    "Scored",
    "exact_match",
    "majority_answer",
    "mean",
    "normalise",
    "rouge_l",
]

Needs = Literal["text", "option_logprobs"]


@dataclass(frozen=True, slots=True)
class Mean:
    """A mean over `n` examples with its standard error (sample standard deviation / sqrt n)."""

    mean: float
    standard_error: float
    n: int


@dataclass(frozen=True, slots=True)
class Scored:
    """Scores of single examples, in their order, and their mean."""

    values: tuple[float, ...]
    mean: Mean


@dataclass(frozen=True, slots=True)
class Metric:
    """A named metric, in [0, 1].

    Args:
        needs: what the engine must produce: a text, or `OptionLogprobs`.
        rule: compares it with a target and, if `sees_options`, with the example's options.
    """

    name: str
    needs: Needs
    rule: Callable[..., float]
    sees_options: bool = False

    def score(self, answer: str | OptionLogprobs, target: str, options: Sequence[str] = ()) -> float:
        """Score of one answer. Raises TaskError for an answer of the other kind, or a target that is no option."""
        if isinstance(answer, str) != (self.needs == "text"):
            wanted = "texts" if self.needs == "text" else "log-probabilities of the options"
            raise TaskError(
                f"Metric {self.name} needs {wanted}, which were not produced.", "Choose another metric for the task."
            )
        rest: tuple[Any, ...] = (options,) if self.sees_options else ()
        return self.rule(answer, target, *rest)

    def scored(
        self,
        answers: Sequence[str | OptionLogprobs],
        targets: Sequence[str],
        options: Sequence[Sequence[str]] | None = None,
    ) -> Scored:
        """Scores of many answers, and their mean."""
        offered = options if options is not None else [()] * len(targets)
        rows = zip(answers, targets, offered, strict=True)
        values = tuple(self.score(answer, target, given) for answer, target, given in rows)
        return Scored(values, mean(values))


_BUILT_IN = (
    Metric("exact_match", "text", exact_match),
    Metric("lenient_match", "text", lenient_match, sees_options=True),
    Metric("token_f1", "text", token_f1),
    Metric("bleu", "text", bleu),
    Metric("rouge_1", "text", rouge_1),
    Metric("rouge_2", "text", rouge_2),
    Metric("rouge_l", "text", rouge_l),
    Metric("struct_to_text", "text", struct_to_text),
    Metric("option_loglikelihood", "option_logprobs", option_loglikelihood, sees_options=True),
    Metric("option_loglikelihood_norm", "option_logprobs", option_loglikelihood_norm, sees_options=True),
)


def _guarded(metric: Metric, origin: Origin) -> Metric:
    """A package's metric whose scores are numbers from 0 to 1."""

    def rule(*args: Any) -> float:
        with origin.blamed():
            score = metric.rule(*args)
            fits = 0 <= score <= 1
        if not fits:
            raise origin.fault(f"gives {score!r}, and a score is a number from 0 to 1")
        return float(score)

    return replace(metric, rule=rule)


METRICS: Registry[Metric] = Registry(
    "lorauter.metrics",
    "metric",
    {metric.name: metric for metric in _BUILT_IN},
    wanted="a catalog.tasks.metrics.Metric",
    fits=lambda brought: isinstance(brought, Metric),
    guarded=_guarded,
)
"""By name: these, and those that packages bring (catalog/plugins)."""


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
