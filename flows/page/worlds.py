"""What the page's script draws: of each base model its tasks, adapters and scores, as columns.

Knows: the fields of the page's JSON. Does not know: SQL, HTML. Numbers are thousandths, adapters and tasks are
places in their lists, -1 is the base alone: 50,000 scores stay under two megabytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from catalog.adapters.adapter import AdapterId
from flows.page.reading import Row, Tables
from flows.page.task_map import places
from flows.page.text import shown

_TEXTS = (
    "sha",
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
    "last_modified",
    "gone",
)
_PLAIN = ("admitted", "downloaded", "size", "rank", "modules", "matched", "dora", "rslora", "downloads", "likes")
_TASK_NUMBERS = ("n", "score", "error", "base_score", "lift", "lift_error", "over_majority", "over_shuffled")
_SCORE_NUMBERS = ("n", "rung", "mean", "error", "lift", "lift_error", "lift_n")


def worlds(tables: Tables) -> list[dict[str, Any]]:
    """The columns of every base, in the bases' order."""
    bases = sorted({row["base"] for name in ("tasks", "adapters") for row in tables[name]})
    cards = {row["adapter"]: row["text"] for row in tables["cards"]}
    repos = {row["repo"]: row for row in tables["repos"]}
    return [_world(base, tables, cards, repos) for base in bases]


def _world(base: str, tables: Tables, cards: Mapping[str, str], repos: Mapping[str, Row]) -> dict[str, Any]:
    own = {name: [row for row in tables[name] if row["base"] == base] for name in _OF_BASE}
    adapters = _adapters(own["adapters"], [row["adapter"] for row in (*own["scores"], *own["tasks"])])
    place = {"": -1} | {row["adapter"]: number for number, row in enumerate(adapters)}
    task = {row["task"]: number for number, row in enumerate(own["tasks"])}
    return {
        "base": shown(base),
        "tasks": _task_columns(own["tasks"], place),
        "adapters": _adapter_columns(adapters, cards, repos),
        "scores": {
            **_places(own["scores"], task, place),
            **_columns(own["scores"], _SCORE_NUMBERS),
            "chosen": [int(bool(row["chosen"])) for row in own["scores"]],
        },
        "whys": {**_places(own["whys"], task, place), "why": [shown(row["why"]) for row in own["whys"]]},
        "rungs": {
            "task": [task[r["task"]] for r in own["rungs"]],
            **_columns(own["rungs"], ("rung", "adapters", "kept", "n")),
        },
        "paths": {**_places(own["paths"], task, place), **_columns(own["paths"], ("rung", "n", "mean", "error"))},
        "quality": _columns(own["quality"], ("rung", "evaluations", "lift")),
    }


_OF_BASE = ("tasks", "adapters", "scores", "whys", "rungs", "paths", "quality")


def _adapters(judged: Sequence[Row], scored: Iterable[str | None]) -> list[Row]:
    """The judged ones, and those that scores name though no verdict does."""
    known = {row["adapter"] for row in judged}
    unknown = sorted({key for key in scored if key} - known)
    return [*judged, *({"adapter": key, "admitted": True, "findings": []} for key in unknown)]


def _task_columns(rows: Sequence[Row], place: Mapping[str, int]) -> dict[str, Any]:
    points, shares = places([row["embedding"] for row in rows])
    return {
        "name": [shown(row["task"]) for row in rows],
        **{name: [shown(row[name]) for row in rows] for name in ("metric", "description", "declared", "majority")},
        "adapter": [place[row["adapter"] or ""] for row in rows],
        "examples": [row["n_validation"] for row in rows],
        **_columns(rows, _TASK_NUMBERS),
        "point": points,
        "shares": shares,
    }


def _adapter_columns(rows: Sequence[Row], cards: Mapping[str, str], repos: Mapping[str, Row]) -> dict[str, Any]:
    ids = [AdapterId.parse(row["adapter"]) for row in rows]
    whole = [{**repos.get(id_.repo, {}), **row, "sha": id_.sha} for id_, row in zip(ids, rows, strict=True)]
    return {
        "name": [shown(id_.name) for id_ in ids],
        **{name: [shown(row.get(name)) for row in whole] for name in _TEXTS},
        **{name: [_bare(row.get(name)) for row in whole] for name in _PLAIN},
        "dtypes": [shown(", ".join(row.get("dtypes") or ())) for row in whole],
        "tags": [shown(", ".join(row.get("tags") or ())) for row in whole],
        "findings": [
            [[shown(f["reason"]), shown(f["evidence"])] for f in (row["findings"] or ())[:20]] for row in whole
        ],
        "card": [shown(cards.get(row["adapter"])) for row in whole],
    }


def _places(rows: Sequence[Row], task: Mapping[str, int], place: Mapping[str, int]) -> dict[str, list[int]]:
    return {"task": [task[row["task"]] for row in rows], "adapter": [place[row["adapter"]] for row in rows]}


def _columns(rows: Sequence[Row], names: Sequence[str]) -> dict[str, list[Any]]:
    return {name: [row[name] for row in rows] for name in names}


def _bare(value: object) -> object:
    """Truth as 1 and 0: half the bytes."""
    return int(value) if isinstance(value, bool) else value
