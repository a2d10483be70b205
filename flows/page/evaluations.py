"""What `lorauter evaluate` said of this snapshot: the systems' lines of evaluation.json.

Knows: where evaluations lie, which fields a line needs. Does not know: how they came about.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from flows.page.text import shown


def read_evaluations(folder: Path, snapshot: str) -> list[dict[str, Any]]:
    """A line a system, of every evaluation in `folder` of that snapshot, best share first in each setting.

    Shares and averages are thousandths; a file that is none of ours is passed over.
    """
    lines = [line for path in sorted(folder.glob("*/evaluation.json")) for line in _lines(path, snapshot)]
    return sorted(lines, key=lambda line: (line["evaluation"], line["setting"], -(line["share"] or -1)))


def _lines(path: Path, snapshot: str) -> Iterator[dict[str, Any]]:
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
        if report["snapshot"] == snapshot:
            items = sum(task["n"] for task in report["tasks"].values())
            yield from [_line(line, shown(path.parent.name), items) for line in report["systems"]]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return


def _line(line: dict[str, Any], name: str, items: int) -> dict[str, Any]:
    share, average = line["share"], line["average"]
    return {
        "evaluation": name,
        "items": items,
        **{field: shown(str(line[field])) for field in ("setting", "router", "composition")},
        "average": _thousandths(average["value"]),
        "share": _thousandths(share["value"]),
        "low": _thousandths(share["low"]),
        "high": _thousandths(share["high"]),
    }


def _thousandths(value: float | None) -> int | None:
    return None if value is None else round(1000 * value)
