"""Metrics of tasks with options: the option that a text names, and the option a model finds likeliest.

Knows: how a choice is made from a text or from log-probabilities. Does not know: how a model gives either.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from catalog.errors import TaskError
from catalog.tasks.options import index_of, named_option, says


@dataclass(frozen=True, slots=True)
class OptionLogprobs:
    """What a model says of each option after a prompt: the sum of its tokens' log-probabilities, and how many."""

    totals: tuple[float, ...]
    tokens: tuple[int, ...]


def lenient_match(text: str, target: str, options: Sequence[str] = ()) -> float:
    """1.0 where a text names the right option, by letter or in words, and no other.

    Without options, or where the target is none of them, the target itself must stand in the text as words.
    """
    right = index_of(target, options)
    if right is None:
        return float(says(text, target))
    return float(named_option(text, options) == right)


def option_loglikelihood(answer: OptionLogprobs, target: str, options: Sequence[str]) -> float:
    """1.0 where the right option has the highest log-probability; of equal ones the first is chosen."""
    return _chosen(answer.totals, target, options)


def option_loglikelihood_norm(answer: OptionLogprobs, target: str, options: Sequence[str]) -> float:
    """1.0 where the right option has the highest log-probability a token: long options lose nothing by length."""
    values = [total / max(tokens, 1) for total, tokens in zip(answer.totals, answer.tokens, strict=True)]
    return _chosen(values, target, options)


def _chosen(values: Sequence[float], target: str, options: Sequence[str]) -> float:
    right = index_of(target, options)
    if right is None or len(values) != len(options):
        raise TaskError(
            f"Target {target[:80]!r} is none of {len(options)} options, or {len(values)} log-probabilities came.",
            "Give every example options that hold its target, or choose a metric that needs none.",
        )
    return float(max(range(len(values)), key=lambda index: values[index]) == right)
