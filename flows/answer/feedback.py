"""Feedback: a file of scores, held against the answers that they are about, as rows of the ledger.

Knows: columns of the file, thumbs, which answer a row means. Does not know: who learns from scores
(flows/answer/policy).

Nothing is stored where any row has a fault; the error names the file and the line. The same file again stores nothing,
and another score for the same answer takes the first one's place.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from catalog.errors import TaskError
from warehouse.ledger.ledger import Ledger
from warehouse.records.feedback import FeedbackRow, answer_key, keep_feedback
from warehouse.storage.row_files import FIX, is_text, read_rows

_THUMBS = {"up": 1.0, "true": 1.0, "down": 0.0, "false": 0.0}
_NEEDED = ("id", "router", "input", "text", "adapters", "snapshot")
_MOST_OF_A_CONTEXT = 1.001  # a context has length 1
_MOST_VERSIONS = (1 << 31) - 1
_FOLLOWS = "Give the file that `lorauter answer` wrote."


@dataclass(frozen=True, slots=True)
class Told:
    """What came of a file of scores: its rows, those that say something new, those that a policy can learn from."""

    rows: int
    new: int
    teaching: int


@dataclass(frozen=True, slots=True)
class _Score:
    """One row of the file: a score of a query's answer, by a router or by the only one that answered."""

    line: int
    query: str
    router: str
    score: float


def store_feedback(ledger: Ledger, scores: Path, answers: Path) -> Told:
    """Store what a file says of answers.

    Args:
        ledger: gets the rows.
        scores: .jsonl, .json, .csv or .parquet: id, and score from 0 to 1 or thumbs up or down; router where several
            answered a query.
        answers: the file that `lorauter answer` wrote.

    Raises:
        TaskError: a file cannot be read, or a row is wrong; nothing was stored.
    """
    told = _read_scores(scores)
    rows = list(_rows_of(scores, told, _scored_answers(answers, {score.query for score in told})))
    new = keep_feedback(ledger, rows)
    return Told(len(rows), new, sum(row.policy is not None for row in rows))


def _read_scores(path: Path) -> list[_Score]:
    """The file's rows; one that repeats another word for word is passed over."""
    seen: dict[tuple[str, str], _Score] = {}
    for line, row in read_rows(path):
        score = _score_of(row, f"{path}, line {line}", line)
        earlier = seen.setdefault((score.query, score.router), score)
        if earlier.score != score.score:
            raise TaskError(
                f"{path}, line {line}: query {score.query!r} has another score than in line {earlier.line}.", FIX
            )
    if not seen:
        raise TaskError(f"{path} holds no scores.", "Give at least one row with the fields id and score.")
    return list(seen.values())


def _score_of(row: Mapping[str, Any], where: str, line: int) -> _Score:
    query, router = row.get("id"), row.get("router")
    if query in (None, ""):
        raise TaskError(f"{where}: field id is missing.", "Name the query as column id of the answers does.")
    given = {name: row[name] for name in ("score", "thumbs") if row.get(name) not in (None, "")}
    if len(given) != 1:
        raise TaskError(f"{where}: one of the fields score and thumbs must be given, and not both.", FIX)
    ((kind, value),) = given.items()
    score = _THUMBS.get(str(value).strip().lower()) if kind == "thumbs" else _number(value)
    if score is None or not 0 <= score <= 1:
        wanted = "use up or down" if kind == "thumbs" else "use a number from 0 to 1"
        raise TaskError(f"{where}: field {kind} is {str(value)[:40]!r}: {wanted}.", FIX)
    return _Score(line, str(query), "" if router is None else str(router), score)


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _scored_answers(path: Path, queries: set[str]) -> dict[str, list[Mapping[str, Any]]]:
    """Query → its answers in the file, of those queries."""
    found: dict[str, list[Mapping[str, Any]]] = {}
    for line, row in read_rows(path):
        missing = [name for name in _NEEDED if name not in row]
        if missing:
            raise TaskError(f"{path} is no file of answers: it has no column {missing[0]}.", _FOLLOWS)
        if str(row["id"]) in queries:
            if odd := _odd(row):
                raise TaskError(
                    f"{path} is no file of answers: in line {line} its column {odd} holds something else.", _FOLLOWS
                )
            found.setdefault(str(row["id"]), []).append(row)
    return found


def _rows_of(path: Path, scores: list[_Score], answers: Mapping[str, list[Mapping[str, Any]]]) -> Iterator[FeedbackRow]:
    for score in scores:
        of_query = [row for row in answers.get(score.query, []) if score.router in ("", row["router"])]
        by = f" by {score.router!r}" if score.router else ""
        where = f"{path}, line {score.line}: query {score.query!r}"
        if not of_query:
            raise TaskError(f"{where} has no answer{by} in the file of answers.", _FOLLOWS)
        rows = {row.answer: row for row in (_row(score, answer) for answer in of_query)}
        if len(rows) > 1:
            raise TaskError(
                f"{where} has {len(rows)} answers{by} in the file of answers.",
                "Name one in field router, or give queries ids of their own.",
            )
        yield from rows.values()


def _odd(answer: Mapping[str, Any]) -> str | None:
    """The first column of an answer whose value no answer has."""
    texts = [name for name in ("router", "input", "snapshot") if not is_text(answer[name])]
    texts += [name for name in ("text", "policy") if not (answer.get(name) is None or is_text(answer[name]))]
    used = answer["adapters"]
    if used is not None and not (isinstance(used, list) and all(_is_used(one) for one in used)):
        texts.append("adapters")
    return texts[0] if texts else None


def _is_used(adapter: object) -> bool:
    return isinstance(adapter, dict) and is_text(adapter.get("adapter"))


def _teaches(answer: Mapping[str, Any], adapters: tuple[str, ...]) -> bool:
    """Whether a policy's answer has what learning needs: a context, a propensity, one adapter or none."""
    context, propensity, version = (answer.get(name) for name in ("context", "propensity", "policy_version"))
    if not (isinstance(context, list) and context and isinstance(propensity, float) and type(version) is int):
        return False
    numbers = all(isinstance(number, float) and abs(number) <= _MOST_OF_A_CONTEXT for number in context)
    counted = 0 <= version <= _MOST_VERSIONS and 0 < propensity <= 1
    resident = isinstance(answer.get("resident"), bool | None)
    return numbers and counted and resident and len(adapters) <= 1


def _row(score: _Score, answer: Mapping[str, Any]) -> FeedbackRow:
    adapters = tuple(used["adapter"] for used in answer["adapters"] or ())
    policy = answer.get("policy")
    if policy and not _teaches(answer, adapters):
        raise TaskError(f"The file of answers does not say how {score.query!r} was chosen.", _FOLLOWS)
    text = f"{answer['input']}\x00{answer['text']}"
    made_by = f"{policy} {answer.get('policy_version')}" if policy else ""
    return FeedbackRow(
        answer=answer_key(answer["snapshot"], answer["router"], score.query, text, adapters, made_by),
        query=score.query,
        router=answer["router"],
        snapshot=answer["snapshot"],
        adapters=adapters,
        score=score.score,
        policy=policy,
        policy_version=answer.get("policy_version") if policy else None,
        context=tuple(answer["context"]) if policy else None,
        propensity=answer.get("propensity") if policy else None,
        resident=answer.get("resident") if policy else None,
    )
