"""Metrics by hand-computed values."""

from __future__ import annotations

import math

import pytest

from catalog.metrics import METRICS, Mean, exact_match, majority_answer, mean, normalise, rouge_l


@pytest.mark.parametrize(
    ("text", "target", "score"),
    [
        ("red", "red", 1.0),
        (" Red.\n", "red", 1.0),
        ("U.S.", "us", 1.0),
        ("red", "red\n\nbecause", 1.0),
        ("red\n\nbecause", "red", 0.0),
        ("red blue", "red", 0.0),
        ("", "red", 0.0),
    ],
)
def test_exact_match_forgives_case_space_and_full_stops(text: str, target: str, score: float) -> None:
    assert exact_match(text, target) == score


def test_normalise_strips_twice() -> None:
    assert normalise(" Yes .") == "yes"


@pytest.mark.parametrize(
    ("text", "target", "score"),
    [
        ("the cat sat", "the cat sat", 1.0),
        ("the cat", "the cat sat down", 2 / 3),  # precision 1, recall 1/2
        ("cats", "cat", 0.0),  # no stemming
        ("", "cat", 0.0),
    ],
)
def test_rouge_l_is_the_f1_of_the_longest_common_subsequence(text: str, target: str, score: float) -> None:
    assert rouge_l(text, target) == pytest.approx(score)


def test_the_table_of_metrics_leads_to_them_by_name() -> None:
    named = {name: (metric.name, metric.needs, metric.score) for name, metric in METRICS.items()}
    assert named == {
        "exact_match": ("exact_match", "text", exact_match),
        "rouge_l": ("rouge_l", "text", rouge_l),
    }


def test_a_mean_has_the_sample_standard_error() -> None:
    assert mean([0.0, 1.0, 1.0, 0.0]) == Mean(0.5, math.sqrt((1 / 3) / 4), 4)


def test_one_value_has_an_infinite_error() -> None:
    assert mean([0.25]) == Mean(0.25, math.inf, 1)


def test_no_value_has_no_mean() -> None:
    empty = mean([])
    assert math.isnan(empty.mean)
    assert (empty.standard_error, empty.n) == (math.inf, 0)


@pytest.mark.parametrize(
    ("targets", "majority"),
    [(["b", "a", "b"], "b"), (["b", "a"], "a"), (["a", "b"], "a"), ([], "")],
    ids=["most frequent", "tie", "tie the other way round", "none"],
)
def test_the_majority_is_the_most_frequent_then_the_first_in_order(targets: list[str], majority: str) -> None:
    assert majority_answer(targets) == majority
