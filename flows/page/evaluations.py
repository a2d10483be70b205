"""What `lorauter evaluate` said of this snapshot: the systems' lines of evaluation.json.

Knows: where evaluations lie, which fields a line needs. Does not know: how they came about.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flows.page.text import shown


@dataclass(frozen=True, slots=True)
class EvaluatedSystem:
    """A router with a composition in a setting, as an evaluation found it. Figures are thousandths, texts are safe.

    Args:
        evaluation: name of the evaluation's folder.
        items: test examples of all tasks.
        setting: what was taken away.
        router: name of the router.
        composition: how adapters were put together.
        average: mean score over tasks.
        share: mean share of the oracle's score, None where it has no score.
        low: lower end of the share's interval.
        high: upper end of it.
    """

    evaluation: str
    items: int
    setting: str
    router: str
    composition: str
    average: int | None
    share: int | None
    low: int | None
    high: int | None


def read_evaluations(folder: Path, snapshot: str) -> list[EvaluatedSystem]:
    """A line a system, of every evaluation in `folder` of that snapshot, best share first in each setting.

    A file that is none of ours is passed over.
    """
    lines = [line for path in sorted(folder.glob("*/evaluation.json")) for line in _lines(path, snapshot)]
    return sorted(lines, key=lambda line: (line.evaluation, line.setting, -(line.share or -1)))


def _lines(path: Path, snapshot: str) -> Iterator[EvaluatedSystem]:
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
        if report["snapshot"] == snapshot:
            items = sum(task["n"] for task in report["tasks"].values())
            yield from [_line(line, shown(path.parent.name), items) for line in report["systems"]]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return


def _line(line: Mapping[str, Any], name: str, items: int) -> EvaluatedSystem:
    share, average = line["share"], line["average"]
    return EvaluatedSystem(
        evaluation=name,
        items=items,
        setting=shown(str(line["setting"])),
        router=shown(str(line["router"])),
        composition=shown(str(line["composition"])),
        average=_thousandths(average["value"]),
        share=_thousandths(share["value"]),
        low=_thousandths(share["low"]),
        high=_thousandths(share["high"]),
    )


def _thousandths(value: float | None) -> int | None:
    return None if value is None else round(1000 * value)
