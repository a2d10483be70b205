"""What the page says without a script: the tables that are part of its text.

Knows: which rows each static table has, how many are shown. Does not know: HTML.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from catalog.adapters.adapter import AdapterId
from flows.page.reading import Row, Tables
from flows.page.text import shown

MOST_CHANGES = 300
MOST_RUNS = 20


def figures(tables: Tables) -> dict[str, Any]:
    """All static figures: by base, and those of the whole home."""
    bases = sorted({row["base"] for name in ("tasks", "adapters") for row in tables[name]})
    return {
        "bases": [_of_base(number, base, tables) for number, base in enumerate(bases)],
        "changes": _changes(tables["changes"]),
        "counts": _counts(tables["changes"]),
        "runs": [_run(row) for row in tables["runs"][-MOST_RUNS:][::-1]],
        "ages": tables["ages"],
    }


def _of_base(number: int, base: str, tables: Tables) -> dict[str, Any]:
    own = {name: [r for r in tables[name] if r["base"] == base] for name in ("funnel", "reasons", "licences", "tasks")}
    places = {row["adapter"]: n for n, row in enumerate(r for r in tables["adapters"] if r["base"] == base)}
    tasks = sorted(
        (_task(row, number, places) for row in own["tasks"]), key=lambda row: (-(row["lift"] or 0), row["task"])
    )
    return {
        "number": number,
        "base": shown(base),
        "funnel": own["funnel"][0] if own["funnel"] else None,
        "reasons": [
            {**row, "reason": shown(row["reason"]), "example": shown(AdapterId.parse(row["example"]).name, 120)}
            for row in own["reasons"]
        ],
        "licences": [{**row, "licence": shown(row["licence"], 80)} for row in own["licences"]],
        "tasks": tasks,
        "helped": sum(bool(row["adapter"]) for row in tasks),
    }


def _task(row: Row, number: int, places: dict[str, int]) -> dict[str, Any]:
    place = places.get(row["adapter"])
    return {
        **{name: row[name] for name in ("score", "error", "n", "base_score", "lift", "lift_error", "over_majority")},
        "task": shown(row["task"]),
        "metric": shown(row["metric"]),
        "adapter": shown(AdapterId.parse(row["adapter"]).name) if row["adapter"] else "",
        "anchor": f"adapter-{number}-{place}" if place is not None else None,
    }


def _changes(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Those first that changed what a task publishes."""
    ordered = sorted(
        rows, key=lambda r: (r["chosen_before"] == r["chosen"], r["change"] or "", r["task"], r["adapter"])
    )
    return [
        {**row, "task": shown(row["task"]), "adapter": shown(AdapterId.parse(row["adapter"]).name) or "(base)"}
        for row in ordered[:MOST_CHANGES]
    ]


def _counts(rows: Sequence[Row]) -> dict[str, int]:
    found: dict[str, int] = {}
    for row in rows:
        found[row["change"] or "changed"] = found.get(row["change"] or "changed", 0) + 1
    return dict(sorted(found.items()))


def _run(row: Row) -> dict[str, Any]:
    return {**row, "base": shown(row["base"]), "command": shown(row["command"])}
