"""What is stored of an evaluation: evaluation.json, items.parquet, evaluation.svg.

Knows: the files' names and fields. Does not know: how figures are made (lorauter/evaluation), how they are told.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from catalog.tasks.answer import Failed
from flows.evaluate.evaluate import Evaluation, Item
from flows.evaluate.plot import plot
from flows.screen.progress import say
from lorauter.evaluation.figures import Figures, figures_of
from lorauter.evaluation.intervals import DRAWS, LEVEL, SEED
from lorauter.evaluation.shares import Domains, domains_of
from lorauter.evaluation.systems import CEILING, System
from warehouse.schemas.answers import EVALUATION_ITEMS
from warehouse.schemas.columns import table_of
from warehouse.storage.files import write_table, write_text

Report = dict[str, Any]
"""The content of evaluation.json."""


def report_of(found: Evaluation) -> Report:
    """All figures, by system; JSON values only."""
    systems, tasks = list(found.items), found.tasks
    domains = domains_of([task.name for task in tasks], [task.domain for task in tasks])
    places = {system: place for place, system in enumerate(systems)}
    references = [_reference(system, found.reference, places) for system in systems]
    figures = figures_of(_scores(found), domains, places[CEILING], references)
    ceiling = figures[places[CEILING]]
    return {
        "name": found.name,
        "snapshot": found.snapshot,
        "conditions": asdict(found.conditions),
        "routing": dict(found.routing),
        "reference": " + ".join(found.reference) if found.reference else None,
        "intervals": {"of": "items, paired, by task", "level": LEVEL, "draws": DRAWS, "seed": SEED},
        "tasks": {task.name: {"domain": task.domain, "metric": task.metric, "n": len(task.test)} for task in tasks},
        "domains": list(domains.names),
        "without_share": [name for name, mean in zip(domains.names, ceiling.domains, strict=True) if mean == 0],
        "systems": [_line(found, s, one, domains) for s, one in zip(systems, figures, strict=True)],
    }


def store(found: Evaluation, report: Report, folder: Path) -> None:
    """Write the files; evaluation.json last."""
    rows = [_row(system, item) for system, items in found.items.items() for item in items]
    write_table(folder / "items.parquet", table_of(rows, EVALUATION_ITEMS))
    try:
        plot(report, folder / "evaluation.svg")
    except ModuleNotFoundError:
        say("There is no plot without matplotlib: pip install 'lorauter[bench]', then run the same again.")
    write_text(folder / "evaluation.json", as_json(report))


def as_json(report: Report) -> str:
    """The text of evaluation.json."""
    return json.dumps(report, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _scores(found: Evaluation) -> list[np.ndarray[Any, np.dtype[np.float64]]]:
    """Of each task, (systems, items)."""
    whole = np.asarray([[item.score for item in items] for items in found.items.values()], dtype=np.float64)
    cuts = np.cumsum([len(task.test) for task in found.tasks])[:-1]
    return np.split(whole, cuts, axis=1)


def _reference(system: System, reference: tuple[str, str] | None, places: Mapping[System, int]) -> int | None:
    """The place of the reference in the system's own setting."""
    return places.get(System(system.setting, *reference)) if reference else None


def _line(found: Evaluation, system: System, figures: Figures, domains: Domains) -> dict[str, Any]:
    items, cost = found.items[system], found.costs[system]
    names = [task.name for task in found.tasks]
    shares = zip(domains.names, figures.domains, figures.domain_shares, strict=True)
    return {
        **asdict(system),
        "average": asdict(figures.average),
        "share": asdict(figures.share),
        "difference": asdict(figures.difference) if figures.difference else None,
        "refused": sum(isinstance(item.answer, Failed) for item in items) / len(items),
        "refusals": _refusals(items),
        "domains": {name: {"score": score, "share": share} for name, score, share in shares},
        "tasks": dict(zip(names, figures.tasks, strict=True)),
        "cost": asdict(cost),
    }


def _refusals(items: Sequence[Item]) -> list[str]:
    """Why answers are missing, each reason once, five at most."""
    return list(dict.fromkeys(item.answer.error for item in items if isinstance(item.answer, Failed)))[:5]


def _row(system: System, item: Item) -> dict[str, Any]:
    return {
        **asdict(system),
        "task": item.task,
        "id": item.example,
        "text": item.answer if isinstance(item.answer, str) else None,
        "score": item.score,
        "error": item.answer.error if isinstance(item.answer, Failed) else None,
        "adapters": [{"adapter": key, "weight": None if item.gated else weight} for key, weight in item.mixture],
        "tasks": list(item.tasks),
    }
