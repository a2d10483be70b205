"""Rows of the ledger's table `feedback`: what somebody thought of an answer.

Knows: the columns, which rows are new, their order. Does not know: how a file of scores is read
(flows/answer/feedback), who learns from them (flows/answer/policy).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from catalog.tasks.task import content_hash
from warehouse.ledger.ledger import Ledger
from warehouse.records.rows import as_rows


@dataclass(frozen=True, slots=True)
class FeedbackRow:
    """What one answer was worth to somebody.

    Args:
        answer: hash of what tells the answer from others, see `answer_key`.
        query: id of its query.
        router: who routed it.
        snapshot: by which catalog.
        adapters: that took part; empty: the base alone.
        score: in [0, 1].
        policy: lineage of the policy that chose; None where none did.
        policy_version: of its state.
        context: of the query, as the policy saw it.
        propensity: the probability that the policy chose as it did.
        resident: whether the adapter was to be resident then.
    """

    answer: str
    query: str
    router: str
    snapshot: str
    adapters: tuple[str, ...]
    score: float
    policy: str | None = None
    policy_version: int | None = None
    context: tuple[float, ...] | None = None
    propensity: float | None = None
    resident: bool | None = None


_FIELDS = tuple(field.name for field in fields(FeedbackRow))


def answer_key(snapshot: str, router: str, query: str, text: str, adapters: Iterable[str], policy: str) -> str:
    """What tells an answer from others; `text` is the query's input and its answer."""
    return content_hash([snapshot, router, query, text, list(adapters), policy], 32)


def keep_feedback(ledger: Ledger, rows: Iterable[FeedbackRow]) -> int:
    """Add the rows that say something new of their answer, stamped with the time. Returns how many there were."""
    return ledger.changes("feedback").append(as_rows(rows))


def feedback_on(ledger: Ledger, policy: str) -> list[tuple[datetime, FeedbackRow]]:
    """All that was ever said of a policy's answers, in the order of time; what was said anew comes too."""
    rows = ledger.where("feedback", {"policy": policy}, [*_FIELDS, "at"])
    told = {(row["at"], row["answer"]): _feedback_of(row) for row in rows}
    return [(at, row) for (at, _answer), row in sorted(told.items(), key=lambda item: item[0])]


def _feedback_of(row: Mapping[str, Any]) -> FeedbackRow:
    lists = {name: tuple(row[name] or ()) for name in ("adapters", "context")}
    return FeedbackRow(**{name: lists.get(name, row[name]) for name in _FIELDS})
