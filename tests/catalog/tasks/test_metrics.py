"""Metrics by hand-computed values, and by what the libraries say of published examples."""

from __future__ import annotations

import math
import subprocess
import sys

import pytest

from catalog.errors import TaskError
from catalog.tasks.metrics import (
    METRICS,
    Mean,
    OptionLogprobs,
    Scored,
    exact_match,
    majority_answer,
    mean,
    normalise,
    rouge_l,
)
from catalog.tasks.option_metrics import lenient_match, option_loglikelihood, option_loglikelihood_norm
from catalog.tasks.overlap_metrics import bleu, rouge_1, rouge_2, struct_to_text
from catalog.tasks.text_metrics import token_f1


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
        ("red .", "red", 0.0),  # as the authors score: what stood before the full stop stays
    ],
)
def test_exact_match_forgives_case_space_and_full_stops(text: str, target: str, score: float) -> None:
    assert exact_match(text, target) == score


def test_normalise_strips_before_it_drops_full_stops() -> None:
    assert normalise("  Yes . ") == "yes "


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


def test_rouge_leaves_a_replaced_stderr_open() -> None:
    script = """
import io, logging.config, sys
from catalog.tasks.metrics import rouge_l
sys.stderr = ours = io.StringIO()
rouge_l("a", "a")
sys.stderr = sys.__stderr__
logging.config.dictConfig({"version": 1})  # closes the handlers there are, and absl's its stream
assert not ours.closed
"""

    subprocess.run([sys.executable, "-c", script], check=True)


def test_rouge_1_and_2_are_f1_of_words_and_pairs() -> None:
    assert (rouge_1("a cat sat", "a cat ran"), rouge_2("a cat sat", "a cat ran")) == pytest.approx((2 / 3, 1 / 2))


def test_struct_to_text_is_the_mean_of_three_rouges_that_keep_case_and_count_an_n_gram_once() -> None:
    # words {A, cat, ran} and {a, cat, ran}: 2/3; pairs: 1 of 2; longest common subsequence: 2 of 3
    assert struct_to_text("A cat ran", "a cat ran") == pytest.approx((2 / 3 + 1 / 2 + 2 / 3) / 3, abs=1e-6)
    assert struct_to_text("no no no", "no") == pytest.approx((1 + 0 + 1) / 3, abs=1e-6)


@pytest.mark.parametrize(("text", "target"), [("", "a"), (" . ", "a"), ("a", "..."), ("", "")])
def test_struct_to_text_of_nothing_is_nothing(text: str, target: str) -> None:
    assert struct_to_text(text, target) == 0.0


def test_struct_to_text_bears_answers_without_end() -> None:
    assert struct_to_text("word " * 5_000, "word " * 5_000) == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize(
    ("text", "target", "score"),
    [
        ("the cat is on the mat", "the cat is on the mat", 1.0),
        ("the cat is on the mat", "the cat sat on the mat", 0.0),  # no four words in common, and no smoothing
        ("a b c d", "a b c d e f", math.exp(1 - 6 / 4)),  # all n-grams match: the brevity penalty alone
        ("a b c d x", "a b c d e", (4 / 5 * 3 / 4 * 2 / 3 * 1 / 2) ** 0.25),
        ("", "a b c d", 0.0),
        ("a b c", "a b c", 0.0),  # too short for four words
    ],
)
def test_bleu_is_the_unsmoothed_one_of_a_sentence(text: str, target: str, score: float) -> None:
    assert bleu(text, target) == pytest.approx(score)


@pytest.mark.parametrize(
    ("text", "target", "score"),
    [
        ("The red, red cat!", "red cat", 2 * 2 / (3 + 2)),
        ("a cat", "the cat", 1.0),
        ("dog", "cat", 0.0),
        ("", "cat", 0.0),
        ("the", "a", 1.0),  # nothing on either side
    ],
)
def test_token_f1_counts_words_without_articles_and_punctuation(text: str, target: str, score: float) -> None:
    assert token_f1(text, target) == pytest.approx(score)


@pytest.mark.parametrize(
    ("text", "target", "score"),
    [
        ("(B)", "Rome", 1.0),
        ("Rome", "(B)", 1.0),
        ("It is Rome, of course.", "B", 1.0),
        ("Oslo or Rome", "Rome", 0.0),
        ("", "Rome", 0.0),
    ],
)
def test_lenient_match_takes_letter_and_text_for_each_other(text: str, target: str, score: float) -> None:
    assert lenient_match(text, target, ("Oslo", "Rome")) == score


@pytest.mark.parametrize(("text", "score"), [("well, Rome it is", 1.0), ("Romeo", 0.0), ("A", 0.0)])
def test_lenient_match_without_options_looks_for_the_target_in_words(text: str, score: float) -> None:
    assert lenient_match(text, "Rome") == score


def test_the_likeliest_option_and_the_likeliest_a_token_may_differ() -> None:
    said = OptionLogprobs(totals=(-4.0, -6.0), tokens=(2, 6))
    options = ("no", "it is not entailed")
    assert (option_loglikelihood(said, "no", options), option_loglikelihood_norm(said, "no", options)) == (1.0, 0.0)


def test_the_first_of_equally_likely_options_is_chosen() -> None:
    assert option_loglikelihood(OptionLogprobs((-1.0, -1.0), (1, 1)), "(B)", ("yes", "no")) == 0.0


@pytest.mark.parametrize(("target", "options"), [("maybe", ("yes", "no")), ("yes", ("yes", "no", "maybe"))])
def test_an_option_that_is_not_there_is_told(target: str, options: tuple[str, ...]) -> None:
    with pytest.raises(TaskError, match="is none of"):
        option_loglikelihood(OptionLogprobs((-1.0, -2.0), (1, 1)), target, options)


def test_the_table_of_metrics_says_what_each_needs() -> None:
    texts = ["exact_match", "lenient_match", "token_f1", "bleu", "rouge_1", "rouge_2", "rouge_l", "struct_to_text"]
    logprobs = ["option_loglikelihood", "option_loglikelihood_norm"]
    expected = [(name, name, "text") for name in texts] + [(name, name, "option_logprobs") for name in logprobs]
    assert [(name, metric.name, metric.needs) for name, metric in METRICS.items()] == expected


def test_a_metric_scores_examples_one_by_one_and_together() -> None:
    scored = METRICS["lenient_match"].scored(["(A)", "no"], ["yes", "yes"], [("yes", "no"), ("yes", "no")])
    assert scored == Scored((1.0, 0.0), Mean(0.5, 0.5, 2))


@pytest.mark.parametrize(
    ("metric", "answer", "needs"),
    [
        ("option_loglikelihood", "yes", "log-probabilities of the options"),
        ("bleu", OptionLogprobs((-1.0,), (1,)), "texts"),
    ],
)
def test_a_metric_refuses_what_it_does_not_reduce(metric: str, answer: str | OptionLogprobs, needs: str) -> None:
    with pytest.raises(TaskError) as caught:
        METRICS[metric].score(answer, "yes")
    assert caught.value.cause == f"Metric {metric} needs {needs}, which were not produced."


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
