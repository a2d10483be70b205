"""The controls: what answers score that know nothing of their inputs."""

from __future__ import annotations

import pytest

from catalog.tasks.answer import Failed
from catalog.tasks.controls import majority_scores, scores_of, shuffled_scores
from catalog.tasks.option_metrics import OptionLogprobs
from catalog.tasks.task import Example, Task

TASK = Task("t", "exact_match", ())
COLOURS = [Example(f"{n}?", target) for n, target in enumerate(["red", "red", "red", "blue"])]


def test_a_failed_answer_scores_nothing() -> None:
    assert scores_of(TASK, ["red", Failed("no"), "blue", "blue"], COLOURS) == [1.0, 0.0, 0.0, 1.0]


def test_the_majority_answer_is_scored_like_any_other() -> None:
    assert majority_scores(TASK, "red", COLOURS) == [1.0, 1.0, 1.0, 0.0]


def test_shuffled_targets_leave_what_the_labels_frequencies_give() -> None:
    perfect = [example.target for example in COLOURS]

    assert shuffled_scores(TASK, perfect, COLOURS) == pytest.approx([2 / 3, 2 / 3, 2 / 3, 0.0])


def test_an_only_example_is_its_own_control() -> None:
    assert shuffled_scores(TASK, ["red"], COLOURS[:1]) == [1.0]


def test_options_of_different_examples_are_matched_by_their_place() -> None:
    task = Task("t", "option_loglikelihood", ())
    examples = [Example("a", "cat", ("cat", "dog")), Example("b", "south", ("north", "south"))]
    answers = [OptionLogprobs((-1.0, -2.0), (1, 1)), OptionLogprobs((-2.0, -1.0), (1, 1))]

    assert scores_of(task, answers, examples) == [1.0, 1.0]
    assert shuffled_scores(task, answers, examples) == [0.0, 0.0]
    assert majority_scores(task, "cat", examples) == [1.0, 0.0]
