"""The paper's table from stored predictions: each domain, and the share of the oracle (LORAUTER, arXiv 2601.21795).

    python -m benchmarks.paper_table --predictions predictions.jsonl [--oracle oracle] [--json OUT]

A line of the file holds task, domain, metric (em, bleu, rouge), target, and the answer of every method under the
method's name. A domain's figure is the mean over its tasks; "share" is the mean over domains of method ÷ oracle, the
paper's headline; "tasks" is the plain mean over tasks. Figures are percent, ± is the standard error over examples.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from catalog.errors import TaskError
from catalog.tasks.metrics import METRICS, Scored
from warehouse.storage.row_files import read_rows
from warehouse.tasks.labelled_rows import FLAN_METRICS

ROW_FIELDS = ("task", "domain", "metric", "target")
_FIX = "Give every line task, domain, metric, target, and an answer of every method."

Table = dict[str, Any]
ScoresByTask = dict[str, dict[str, Scored]]
"""task → method → scores of its examples."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Read, score, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--predictions", type=Path, required=True)
    parser.add_argument("--oracle", default="oracle", help="the method that the share is of")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args(arguments)
    try:
        table = paper_table(args.predictions, args.oracle)
    except TaskError as error:
        parser.exit(1, f"Error: {error}\n")
    print("\n".join(lines(table)))
    if args.json:
        args.json.write_text(json.dumps(table, indent=2) + "\n", encoding="utf-8")


def paper_table(predictions: Path, oracle: str = "oracle") -> Table:
    """Figures by domain and method, means over tasks, and shares of the oracle.

    Raises:
        TaskError: naming file, row and field.
    """
    rows = _read(predictions)
    methods = [name for name in rows[0] if name not in (*ROW_FIELDS, "id")]
    if oracle not in methods:
        raise TaskError(f"{predictions}: there is no method {oracle!r}, only {', '.join(methods)}.", "Set --oracle.")
    scores = _score(rows, methods)
    domains = {row["task"]: row["domain"] for row in rows}
    by_domain = {
        domain: {method: _percent(scores, [t for t in scores if domains[t] == domain], method) for method in methods}
        for domain in sorted({*domains.values()})
    }
    return {
        "domains": by_domain,
        "tasks": {method: _percent(scores, list(scores), method) for method in methods},
        "share": {method: _share(by_domain, method, oracle) for method in methods},
        "n": {"examples": len(rows), "tasks": len(scores), "domains": len(by_domain)},
    }


def lines(table: Table) -> list[str]:
    """The table as text, methods in columns."""
    methods = list(table["share"])
    width = max(map(len, table["domains"])) + 2
    columns = [max(len(method), 10) + 2 for method in methods]

    def line(name: str, cells: Iterable[str]) -> str:
        return name.ljust(width) + "".join(cell.rjust(size) for cell, size in zip(cells, columns, strict=True))

    def figures(row: Mapping[str, Mapping[str, float]]) -> list[str]:
        return [f"{row[method]['mean']:.1f} ±{row[method]['standard_error']:.1f}" for method in methods]

    return [
        line("domain", methods),
        *(line(domain, figures(row)) for domain, row in table["domains"].items()),
        line("tasks", figures(table["tasks"])),
        line("share", [f"{table['share'][method]:.1f}" for method in methods]),
    ]


def _read(path: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for number, row in read_rows(path):
        expected = rows[0] if rows else dict.fromkeys(ROW_FIELDS)
        for name in (*expected, *row):
            if name != "id" and not isinstance(row.get(name), str):
                raise TaskError(f"{path}, row {number}: field {name} must be text.", _FIX)
        if FLAN_METRICS.get(row["metric"], row["metric"]) not in METRICS:
            known = ", ".join((*FLAN_METRICS, *METRICS))
            raise TaskError(f"{path}, row {number}: field metric is {row['metric']!r}, not one of {known}.", _FIX)
        rows.append(row)
    if not rows:
        raise TaskError(f"{path} holds no rows.", _FIX)
    return rows


def _score(rows: Sequence[Mapping[str, str]], methods: Sequence[str]) -> ScoresByTask:
    by_task: dict[str, list[Mapping[str, str]]] = {}
    for row in rows:
        by_task.setdefault(row["task"], []).append(row)
    scores: ScoresByTask = {}
    for task, members in by_task.items():
        metric = METRICS[FLAN_METRICS.get(members[0]["metric"], members[0]["metric"])]
        targets = [row["target"] for row in members]
        scores[task] = {method: metric.scored([row[method] for row in members], targets) for method in methods}
    return scores


def _percent(scores: ScoresByTask, tasks: Sequence[str], method: str) -> dict[str, float]:
    """Mean over tasks, and its standard error from those of the tasks: examples are the sample, tasks are fixed."""
    means = [scores[task][method].mean for task in tasks]
    error = math.sqrt(math.fsum(m.standard_error**2 for m in means)) / len(means)
    return {"mean": 100 * math.fsum(m.mean for m in means) / len(means), "standard_error": 100 * error}


def _share(by_domain: Mapping[str, Mapping[str, Mapping[str, float]]], method: str, oracle: str) -> float:
    """Mean over domains of method ÷ oracle, in percent; nan where the oracle has a domain of nothing right."""
    shares = [row[method]["mean"] / (row[oracle]["mean"] or math.nan) for row in by_domain.values()]
    return 100 * math.fsum(shares) / len(shares)


if __name__ == "__main__":
    main()
