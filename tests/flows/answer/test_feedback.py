"""A file of scores: what it may hold, which answer a row means, what is wrong and where; nothing is stored twice."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from catalog.errors import TaskError
from flows.answer.feedback import Told, store_feedback
from warehouse.ledger.ledger import Ledger
from warehouse.queries.answer_rows import AnswerRow, PolicyChoice, UsedAdapter, answers_table
from warehouse.records.feedback import feedback_on
from warehouse.schemas.answers import ANSWERS, POLICY_ANSWERS
from warehouse.storage.files import write_table

CHOICE = PolicyChoice("f00d", 3, (0.6, 0.8), 0.25, False)


def answer(id_: str, router: str, adapter: str = "", choice: PolicyChoice | None = None) -> AnswerRow:
    used = (UsedAdapter(adapter, 1.0),) if adapter else ()
    row = AnswerRow(id_, router, f"What is {id_}?", "It.", (), used, None, "greedy", 0.5, *[None] * 5, "snapshot")
    return replace(row, choice=choice)


@pytest.fixture
def answers(tmp_path: Path) -> Path:
    """Two queries answered by two routers, a third by one alone."""
    rows = [answer("q1", "polar", "ann/a@1", CHOICE), answer("q2", "polar", "", CHOICE)]
    rows += [answer("q1", "lorauter", "bob/b@1"), answer("q2", "lorauter"), answer("q3", "lorauter", "bob/b@1")]
    write_table(tmp_path / "answers.parquet", answers_table(rows, POLICY_ANSWERS))
    return tmp_path / "answers.parquet"


def scores(tmp_path: Path, *rows: dict[str, Any]) -> Path:
    path = tmp_path / "scores.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def stored(folder: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = Ledger(folder).current("feedback")
    return sorted(rows, key=lambda row: (row["query"], row["router"]))


def test_scores_and_thumbs_become_rows_with_all_that_the_policy_needs(answers: Path, tmp_path: Path) -> None:
    told = scores(
        tmp_path,
        {"id": "q1", "router": "polar", "score": 0.75},
        {"id": "q2", "router": "polar", "thumbs": "up"},
        {"id": "q3", "thumbs": "down"},
    )

    assert store_feedback(Ledger(tmp_path / "ledger"), told, answers) == Told(rows=3, new=3, teaching=2)

    rows = stored(tmp_path / "ledger")
    assert [(row["query"], row["adapters"], row["score"]) for row in rows] == [
        ("q1", ["ann/a@1"], 0.75),
        ("q2", [], 1.0),
        ("q3", ["bob/b@1"], 0.0),
    ]
    told_of_policy = [(row["policy"], row["policy_version"], row["context"], row["propensity"]) for row in rows]
    assert told_of_policy == [("f00d", 3, [0.6, 0.8], 0.25)] * 2 + [(None, None, None, None)]
    assert [row["resident"] for row in rows] == [False, False, None]


def test_the_same_file_again_stores_nothing_and_a_new_score_takes_the_first_ones_place(
    answers: Path, tmp_path: Path
) -> None:
    ledger = Ledger(tmp_path / "ledger")
    first = scores(tmp_path, {"id": "q1", "router": "polar", "score": 0})
    store_feedback(ledger, first, answers)

    again = store_feedback(ledger, first, answers)
    changed = store_feedback(ledger, scores(tmp_path, {"id": "q1", "router": "polar", "score": 1}), answers)

    assert (again.new, changed.new) == (0, 1)
    assert [row["score"] for row in stored(tmp_path / "ledger")] == [1.0]
    assert [row.score for _at, row in feedback_on(ledger, "f00d")] == [0.0, 1.0]  # a correction needs both


def test_a_csv_and_a_parquet_file_of_scores_say_the_same(answers: Path, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id,score,router\nq3,0.5,\nq1,1,lorauter\n")
    pq.write_table(
        pq.read_table(answers, columns=["id"]).slice(4, 1).append_column("score", [[0.5]]), tmp_path / "b.parquet"
    )

    of_csv = store_feedback(Ledger(tmp_path / "one"), tmp_path / "a.csv", answers)
    of_parquet = store_feedback(Ledger(tmp_path / "two"), tmp_path / "b.parquet", answers)

    assert (of_csv.new, of_parquet.new) == (2, 1)
    assert stored(tmp_path / "one")[1]["answer"] == stored(tmp_path / "two")[0]["answer"]


@pytest.mark.parametrize(
    ("rows", "fault"),
    [
        ([{"id": "q3", "score": 1.5}], "line 1: field score is '1.5': use a number from 0 to 1"),
        ([{"id": "q3", "score": 1}, {"id": "q1", "score": True}], "line 2: field score is 'True'"),
        ([{"id": "q3", "score": "nan"}], "line 1: field score is 'nan'"),
        ([{"id": "q3", "thumbs": "sideways"}], "line 1: field thumbs is 'sideways': use up or down"),
        ([{"id": "q3"}], "line 1: one of the fields score and thumbs"),
        ([{"id": "q3", "score": 1, "thumbs": "up"}], "line 1: one of the fields score and thumbs"),
        ([{"score": 1}], "line 1: field id is missing"),
        ([{"id": "q9", "score": 1}], "line 1: query 'q9' has no answer in the file of answers"),
        ([{"id": "q3", "score": 1, "router": "base"}], "line 1: query 'q3' has no answer by 'base'"),
        ([{"id": "q1", "score": 1}], "line 1: query 'q1' has 2 answers in the file of answers"),
        ([{"id": "q3", "score": 1}, {"id": "q3", "score": 0}], "line 2: query 'q3' has another score than in line 1"),
        ([], "holds no scores"),
    ],
)
def test_a_row_that_is_wrong_is_told_with_its_line_and_nothing_is_stored(
    answers: Path, tmp_path: Path, rows: list[dict[str, Any]], fault: str
) -> None:
    with pytest.raises(TaskError) as told:
        store_feedback(Ledger(tmp_path / "ledger"), scores(tmp_path, *rows), answers)

    assert fault in told.value.cause
    assert str(tmp_path / "scores.jsonl") in told.value.cause
    assert stored(tmp_path / "ledger") == []


def test_answers_that_no_policy_made_have_no_such_columns_and_can_be_scored(tmp_path: Path) -> None:
    write_table(tmp_path / "plain.parquet", answers_table([answer("q3", "lorauter", "bob/b@1")]))
    assert pq.read_schema(tmp_path / "plain.parquet").names == ANSWERS.names

    told = store_feedback(
        Ledger(tmp_path / "ledger"), scores(tmp_path, {"id": "q3", "score": 1}), tmp_path / "plain.parquet"
    )

    assert told == Told(rows=1, new=1, teaching=0)


def test_a_file_that_is_none_of_answers_is_refused(tmp_path: Path) -> None:
    other = scores(tmp_path, {"id": "q3", "score": 1})

    with pytest.raises(TaskError, match="no file of answers: it has no column router"):
        store_feedback(Ledger(tmp_path / "ledger"), other, other)


@pytest.mark.parametrize(
    ("odd", "fault"),
    [
        ({"adapters": "[]"}, "in line 1 its column adapters holds something else"),
        ({"adapters": [1]}, "in line 1 its column adapters"),
        ({"adapters": [{"adapter": None}]}, "in line 1 its column adapters"),
        ({"snapshot": 4}, "in line 1 its column snapshot"),
        ({"router": ["polar"]}, "in line 1 its column router"),
        ({"policy": {"a": 1}}, "in line 1 its column policy"),
        ({"context": 5.0}, "does not say how 'q1' was chosen"),
        ({"context": [1e200, 1.0]}, "does not say how 'q1' was chosen"),
        ({"propensity": 5.0}, "does not say how 'q1' was chosen"),
        ({"policy_version": 1 << 70}, "does not say how 'q1' was chosen"),
        ({"resident": "yes"}, "does not say how 'q1' was chosen"),
    ],
)
def test_answers_whose_columns_hold_something_else_teach_nothing(
    answers: Path, tmp_path: Path, odd: dict[str, Any], fault: str
) -> None:
    row = {**pq.read_table(answers).to_pylist()[0], **odd}
    (tmp_path / "odd.jsonl").write_text(json.dumps(row) + "\n")

    with pytest.raises(TaskError) as told:
        store_feedback(Ledger(tmp_path / "ledger"), scores(tmp_path, {"id": "q1", "score": 1}), tmp_path / "odd.jsonl")

    assert fault in told.value.cause
    assert stored(tmp_path / "ledger") == []


def test_a_policys_answer_that_does_not_say_how_it_was_chosen_is_refused(tmp_path: Path) -> None:
    broken = replace(CHOICE, context=(float("nan"), 0.8))
    write_table(tmp_path / "a.parquet", answers_table([answer("q1", "polar", "", broken)], POLICY_ANSWERS))

    with pytest.raises(TaskError, match="does not say how 'q1' was chosen"):
        store_feedback(Ledger(tmp_path / "ledger"), scores(tmp_path, {"id": "q1", "score": 1}), tmp_path / "a.parquet")
