"""What the page's script draws: of each base model its tasks, adapters and scores, as columns.

Knows: the fields of the page's JSON. Does not know: SQL, HTML. Numbers are thousandths, adapters and tasks are
places in their lists, -1 is the base alone: 50,000 scores stay under two megabytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from catalog.adapters.adapter import AdapterId
from flows.page.rows import AdapterRow, FormatRow, PathRow, RepoRow, ScoreRow, Tables, TaskRow, WhyRow
from flows.page.task_map import places
from flows.page.text import shown

_TEXTS = (
    "reason",
    "licence",
    "sha256",
    "duplicate_of",
    "base_named",
    "base_source",
    "peft_type",
    "task_type",
    "peft_version",
    "rules_version",
)
_PLAIN = ("admitted", "downloaded", "size", "rank", "modules", "matched", "dora", "rslora", "downloads")
_TASK_NUMBERS = (
    "n",
    "score",
    "error",
    "base_score",
    "lift",
    "lift_error",
    "over_majority",
    "over_shuffled",
    "empty",
    "cut",
    "base_empty",
    "base_cut",
)
_TASK_TEXTS = ("status", "metric", "description", "declared", "majority", "format", "base_format")
_SCORE_NUMBERS = ("n", "rung", "mean", "error", "lift", "lift_error", "lift_n", "empty", "cut")
_MOST_FINDINGS = 20
_UNLISTED = RepoRow(repo="", tags=None, likes=None, last_modified=None, gone=None)


def worlds(tables: Tables) -> list[dict[str, Any]]:
    """The columns of every base, in the bases' order."""
    cards = {row.adapter: row.text for row in tables.cards}
    repos = {row.repo: row for row in tables.repos}
    return [_world(base, tables, cards, repos) for base in tables.bases]


def _world(base: str, tables: Tables, cards: Mapping[str, str], repos: Mapping[str, RepoRow]) -> dict[str, Any]:
    tasks = [row for row in tables.tasks if row.base == base]
    scores = [row for row in tables.scores if row.base == base]
    whys = [row for row in tables.whys if row.base == base]
    rungs = [row for row in tables.rungs if row.base == base]
    paths = [row for row in tables.paths if row.base == base]
    judged = [row for row in tables.adapters if row.base == base]
    adapters = _adapters(base, judged, [*(row.adapter for row in scores), *(row.adapter for row in tasks)])
    asked = [row for row in scores if row.format]
    place = {"": -1} | {row.adapter: number for number, row in enumerate(adapters)}
    task = {row.task: number for number, row in enumerate(tasks)}
    return {
        "base": shown(base),
        "tasks": _task_columns(tasks, place),
        "adapters": {
            **_adapter_columns(adapters, cards, repos),
            "format": _formats(adapters, [row for row in tables.formats if row.base == base]),
        },
        "scores": {
            **_places(scores, task, place),
            **_columns(scores, _SCORE_NUMBERS),
            "chosen": [int(bool(row.chosen)) for row in scores],
        },
        "formats": {**_places(asked, task, place), "format": [shown(row.format) for row in asked]},
        "whys": {**_places(whys, task, place), "why": [shown(row.why) for row in whys]},
        "rungs": {
            "task": [task[row.task] for row in rungs],
            **_columns(rungs, ("rung", "adapters", "kept", "n")),
        },
        "paths": {**_places(paths, task, place), **_columns(paths, ("rung", "n", "mean", "error"))},
        "quality": _columns(
            [row for row in tables.quality if row.base == base],
            ("rung", "evaluations", "lift"),
        ),
    }


def _adapters(base: str, judged: Sequence[AdapterRow], scored: Iterable[str | None]) -> list[AdapterRow]:
    """The judged ones, and those that scores name though no verdict does."""
    unknown = sorted({key for key in scored if key} - {row.adapter for row in judged})
    return [*judged, *(AdapterRow(base, key) for key in unknown)]


def _task_columns(rows: Sequence[TaskRow], place: Mapping[str, int]) -> dict[str, Any]:
    points, shares = places([row.embedding for row in rows])
    return {
        "name": [shown(row.task) for row in rows],
        **{name: [shown(getattr(row, name)) for row in rows] for name in _TASK_TEXTS},
        "adapter": [place[row.adapter or ""] for row in rows],
        "examples": [row.n_validation for row in rows],
        **_columns(rows, _TASK_NUMBERS),
        "point": points,
        "shares": shares,
    }


def _adapter_columns(
    rows: Sequence[AdapterRow], cards: Mapping[str, str], repos: Mapping[str, RepoRow]
) -> dict[str, Any]:
    ids = [AdapterId.parse(row.adapter) for row in rows]
    listed = [repos.get(id_.repo, _UNLISTED) for id_ in ids]
    return {
        "name": [shown(id_.name) for id_ in ids],
        "sha": [shown(id_.sha) for id_ in ids],
        **{name: [shown(getattr(row, name)) for row in rows] for name in _TEXTS},
        "last_modified": [shown(repo.last_modified) for repo in listed],
        "gone": [shown(repo.gone) for repo in listed],
        **{name: [_bare(getattr(row, name)) for row in rows] for name in _PLAIN},
        "likes": [repo.likes for repo in listed],
        "dtypes": [shown(", ".join(row.dtypes or ())) for row in rows],
        "tags": [shown(", ".join(repo.tags or ())) for repo in listed],
        "findings": [
            [[shown(one["reason"]), shown(one["evidence"])] for one in (row.findings or ())[:_MOST_FINDINGS]]
            for row in rows
        ],
        "card": [shown(cards.get(row.adapter)) for row in rows],
    }


def _formats(rows: Sequence[AdapterRow], formats: Iterable[FormatRow]) -> list[str]:
    """The prompt format that each adapter says it was trained in, and how that is known."""
    told = {
        row.adapter: f"{'' if row.sure else 'unsure: '}{row.format} ({row.confidence:.2f}, {row.source}: {row.reason})"
        for row in formats
    }
    return [shown(told.get(row.adapter)) for row in rows]


def _places(
    rows: Sequence[ScoreRow | WhyRow | PathRow], task: Mapping[str, int], place: Mapping[str, int]
) -> dict[str, list[int]]:
    return {"task": [task[row.task] for row in rows], "adapter": [place[row.adapter] for row in rows]}


def _columns(rows: Sequence[object], names: Sequence[str]) -> dict[str, list[Any]]:
    return {name: [getattr(row, name) for row in rows] for name in names}


def _bare(value: object) -> object:
    """Truth as 1 and 0: half the bytes."""
    return int(value) if isinstance(value, bool) else value
