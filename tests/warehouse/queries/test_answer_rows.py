"""Rows of answers' and evaluations' files: records whose fields are the columns, and what becomes of them."""

from __future__ import annotations

from dataclasses import fields

import pytest

from warehouse.queries.answer_rows import AnswerRow, Fallback, PolicyChoice, RoutedTask, UsedAdapter, answers_table
from warehouse.queries.evaluation_rows import ItemRow, items_table
from warehouse.schemas.answers import ANSWERS, EVALUATION_ITEMS, POLICY_ANSWERS


@pytest.mark.parametrize(
    ("records", "schema"),
    [
        ([AnswerRow], ANSWERS),
        ([AnswerRow, PolicyChoice], POLICY_ANSWERS),
        ([ItemRow], EVALUATION_ITEMS),
    ],
)
def test_the_fields_of_a_record_are_the_columns_of_its_table(records: list[type], schema: object) -> None:
    names = {field.name for record in records for field in fields(record)} - {"choice"}

    assert names == set(schema.names)  # type: ignore[attr-defined]


def test_only_a_batch_with_a_policy_says_how_an_adapter_was_chosen() -> None:
    chosen = PolicyChoice("f00d", 3, (0.6, 0.8), 0.25, True)
    answer = AnswerRow("1", "polar", "?", "!", (), (), None, "", 0.5, None, None, None, None, None, "f", choice=chosen)

    (told,) = answers_table([answer], POLICY_ANSWERS).to_pylist()

    assert {name: told[name] for name in POLICY_ANSWERS.names[-5:]} == {
        "policy": "f00d",
        "policy_version": 3,
        "context": [0.6, 0.8],
        "propensity": 0.25,
        "resident": True,
    }


def test_an_answer_becomes_a_row() -> None:
    answer = AnswerRow(
        id="1",
        router="lorauter",
        input="Which pet barks?",
        text="dog",
        tasks=(RoutedTask("animals", 0.9, 1.0),),
        adapters=(UsedAdapter("ann/pets@a1", 0.75), UsedAdapter("bob/pets@b1", None)),
        composition=None,
        decoding="greedy",
        confidence=0.9,
        task="animals",
        target="dog",
        metric="exact_match",
        score=1.0,
        error=None,
        snapshot="f" * 16,
        fallbacks=(Fallback("animals", "eve/pets@e1", "ann/pets@a1"),),
        route_seconds=0.5,
    )

    assert answers_table([answer]).to_pylist() == [
        {
            "id": "1",
            "router": "lorauter",
            "input": "Which pet barks?",
            "text": "dog",
            "tasks": [{"task": "animals", "similarity": 0.9, "weight": 1.0}],
            "adapters": [{"adapter": "ann/pets@a1", "weight": 0.75}, {"adapter": "bob/pets@b1", "weight": None}],
            "composition": None,
            "decoding": "greedy",
            "confidence": 0.9,
            "task": "animals",
            "target": "dog",
            "metric": "exact_match",
            "score": 1.0,
            "error": None,
            "fallbacks": [{"task": "animals", "gone": "eve/pets@e1", "used": "ann/pets@a1"}],
            "route_seconds": 0.5,
            "answer_seconds": None,
            "snapshot": "f" * 16,
        }
    ]


def test_an_evaluated_item_becomes_a_row() -> None:
    item = ItemRow("ood", "base", "mixture", "animals", "3", None, 0.0, "too large", (), ("animals",), "alpaca")

    assert items_table([item]).to_pylist() == [
        {
            "setting": "ood",
            "router": "base",
            "composition": "mixture",
            "task": "animals",
            "id": "3",
            "text": None,
            "score": 0.0,
            "error": "too large",
            "adapters": [],
            "tasks": ["animals"],
            "format": "alpaca",
        }
    ]
