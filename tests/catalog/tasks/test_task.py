"""Tasks: prompts, and hashes that must never change by accident: stored scores hang on them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from catalog.tasks.task import Example, Task, content_hash

TASK = Task("colours", "exact_match", (Example("What is grass?", "green"), Example("Et la mer ?", "bleu é")))


def test_a_prompt_is_the_template_with_the_input_and_nothing_else() -> None:
    task = replace(TASK, template="Q: {input} {other}\n{input}!")
    assert task.prompt("a {input} b") == "Q: a {input} b {other}\na {input} b!"


def test_hashes_are_what_they_have_always_been() -> None:
    assert (TASK.hash, TASK.validation[0].id) == ("9559f5bb3a1a57fe", "8a612317bb3e0134")


@pytest.mark.parametrize(
    "other",
    [
        replace(TASK, metric="rouge_l"),
        replace(TASK, template="{input}"),
        replace(TASK, max_new_tokens=9),
        replace(TASK, validation=TASK.validation[:1]),
        replace(TASK, validation=TASK.validation[::-1]),
        replace(TASK, validation=(TASK.validation[0], Example("Et la mer ?", "bleu"))),
        replace(TASK, validation=(TASK.validation[0], Example("Et la mer ?", "bleu é", ("bleu é", "vert")))),
    ],
)
def test_whatever_scores_depend_on_changes_the_hash(other: Task) -> None:
    assert other.hash != TASK.hash


def test_name_test_split_domain_and_description_do_not_change_the_hash() -> None:
    other = replace(TASK, name="x", test=TASK.validation, train=TASK.validation, description="d", adapter="ann/x")
    other = replace(other, domain="nli")
    assert other.hash == TASK.hash


def test_the_content_hash_ignores_the_order_of_keys_and_cuts() -> None:
    assert content_hash({"b": 1, "a": "\ud800"}, 8) == content_hash({"a": "\ud800", "b": 1})[:8]


def test_input_and_target_do_not_run_into_each_other() -> None:
    assert Example("ab", "c").id != Example("a", "bc").id
