"""What is stored of an evaluation: evaluation.json, items.parquet, evaluation.svg.

Knows: the files' names and fields. Does not know: how figures are made (lorauter/evaluation), how they are told.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from catalog.tasks.answer import Failed
from flows.evaluate.evaluate import Evaluation, Item
from flows.evaluate.plot import plot
from flows.evaluate.report import DomainFigure, Intervals, JudgedTask, Report, SystemFigures
from flows.screen.progress import say
from lorauter.evaluation.figures import Figures, figures_of
from lorauter.evaluation.intervals import DRAWS, LEVEL, SEED
from lorauter.evaluation.shares import Domains, domains_of
from lorauter.evaluation.systems import CEILING, System
from warehouse.queries.answer_rows import UsedAdapter
from warehouse.queries.evaluation_rows import ItemRow, items_table
from warehouse.storage.files import write_table, write_text

_MOST_REASONS = 5


def report_of(evaluation: Evaluation) -> Report:
    """All figures, by system."""
    systems, tasks = list(evaluation.items), evaluation.tasks
    domains = domains_of([task.name for task in tasks], [task.domain for task in tasks])
    places = {system: place for place, system in enumerate(systems)}
    reference = evaluation.reference  # each system is held against the reference of its own setting
    references = [places.get(System(system.setting, *reference)) if reference else None for system in systems]
    figures = figures_of(_scores(evaluation), domains, places[CEILING], references)
    ceiling = figures[places[CEILING]]
    return Report(
        name=evaluation.name,
        snapshot=evaluation.snapshot,
        conditions=evaluation.conditions,
        routing=evaluation.routing,
        reference=" + ".join(reference) if reference else None,
        intervals=Intervals(of="items, paired, by task", level=LEVEL, draws=DRAWS, seed=SEED),
        tasks={task.name: JudgedTask(task.domain, task.metric, len(task.test)) for task in tasks},
        domains=tuple(domains.names),
        without_share=tuple(name for name, mean in zip(domains.names, ceiling.domains, strict=True) if mean == 0),
        systems=tuple(_line(evaluation, s, one, domains) for s, one in zip(systems, figures, strict=True)),
    )


def store(evaluation: Evaluation, report: Report, folder: Path) -> None:
    """Write the files; evaluation.json last."""
    rows = [_row(system, item) for system, items in evaluation.items.items() for item in items]
    write_table(folder / "items.parquet", items_table(rows))
    try:
        plot(report, folder / "evaluation.svg")
    except ModuleNotFoundError:
        say("There is no plot without matplotlib: pip install 'lorauter[bench]', then run the same again.")
    write_text(folder / "evaluation.json", as_json(report))


def as_json(report: Report) -> str:
    """The text of evaluation.json."""
    return json.dumps(asdict(report), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _scores(evaluation: Evaluation) -> list[np.ndarray[Any, np.dtype[np.float64]]]:
    """Of each task, (systems, items)."""
    whole = np.asarray([[item.score for item in items] for items in evaluation.items.values()], dtype=np.float64)
    cuts = np.cumsum([len(task.test) for task in evaluation.tasks])[:-1]
    return np.split(whole, cuts, axis=1)


def _line(evaluation: Evaluation, system: System, figures: Figures, domains: Domains) -> SystemFigures:
    items = evaluation.items[system]
    reasons = [item.answer.error for item in items if isinstance(item.answer, Failed)]
    shares = zip(domains.names, figures.domains, figures.domain_shares, strict=True)
    return SystemFigures(
        setting=system.setting,
        router=system.router,
        composition=system.composition,
        average=figures.average,
        share=figures.share,
        difference=figures.difference,
        refused=len(reasons) / len(items),
        refusals=tuple(dict.fromkeys(reasons))[:_MOST_REASONS],
        domains={name: DomainFigure(score, share) for name, score, share in shares},
        tasks=dict(zip([task.name for task in evaluation.tasks], figures.tasks, strict=True)),
        cost=evaluation.costs[system],
    )


def _row(system: System, item: Item) -> ItemRow:
    return ItemRow(
        setting=system.setting,
        router=system.router,
        composition=system.composition,
        task=item.task,
        id=item.example,
        text=item.answer if isinstance(item.answer, str) else None,
        score=item.score,
        error=item.answer.error if isinstance(item.answer, Failed) else None,
        adapters=tuple(UsedAdapter(key, None if item.gated else weight) for key, weight in item.mixture),
        tasks=item.tasks,
        format=item.format,
    )
