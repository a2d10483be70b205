"""What a person sees at the end: the funnel, the best adapters, what it cost, how good it is.

Knows: rich, the figures of demo.json, SQL over the snapshot. Does not know: how figures come about.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Group
from rich.table import Table

from flows.screen.screen import Screen
from warehouse.snapshots.snapshot import current_snapshot
from warehouse.sql.session import connect, run

_QUALITY_ORDER = ("oracle", "routed", "uniform", "random", "base", "majority")


def show_demo(home: Path, figures: Mapping[str, Any], quality_sql: str, out: Screen) -> None:
    """Print the demo's one screen."""
    snapshot = current_snapshot(home / "snapshots")
    with connect(snapshot, home / "ledger", Path(figures["answers"]).parent) as connection:
        best = run(connection, "SELECT task, adapter, score, lift, lift_standard_error, n FROM catalog").fetchall()
        samples = run(connection, _SAMPLES.format(answers=figures["answers"])).fetchall()
    out.print(Group(_funnel(figures["funnel"]), _best(best), _cost(figures), _quality(figures["quality"])))
    out.print(_samples(samples))
    out.print("\nThe same figures by SQL, in any DuckDB:")
    out.print(quality_sql, soft_wrap=True)


_SAMPLES = """
SELECT input, text, target, [t.task || ' ' || round(t.weight, 2) FOR t IN tasks] AS route
FROM read_parquet('{answers}') WHERE router = 'lorauter'
QUALIFY row_number() OVER (PARTITION BY task ORDER BY id) = 1 ORDER BY md5(task) LIMIT 3
"""


def _funnel(funnel: Mapping[str, Any]) -> Table:
    table = Table(title="Funnel (one adapter = repo + path)", title_justify="left")
    for name in ("seen", "rejected", "downloaded", "admitted", "scored"):
        table.add_column(name, justify="right")
    table.add_column("rejected because")
    reasons = ", ".join(f"{reason} {count}" for reason, count in funnel["reasons"].items())
    counts = (str(funnel[name]) for name in ("seen", "rejected", "downloaded", "admitted", "scored"))
    table.add_row(*counts, reasons)
    return table


def _best(rows: Sequence[Sequence[Any]]) -> Table:
    table = Table(title="Best adapter of each task, on examples that did not choose it", title_justify="left")
    table.add_column("task")
    table.add_column("adapter", overflow="fold")
    for name in ("score", "lift over base", "± s.e.", "n"):
        table.add_column(name, justify="right")
    for task, adapter, score, lift, error, n in rows:
        name = adapter.partition("@")[0]
        table.add_row(task, name, f"{score:.2f}", f"{lift:+.2f}", f"{error:.2f}", str(n))
    return table


def _cost(figures: Mapping[str, Any]) -> str:
    spent, exhaustive = figures["evaluations"]["spent"], figures["evaluations"]["exhaustive"]
    share = f"{spent / exhaustive:.0%}" if exhaustive else "–"
    return (
        f"\nEvaluations: {spent:,} of {exhaustive:,} exhaustive ({share}), {figures['evaluations']['new']:,} new. "
        f"File requests: {figures['file_requests']:,}. Peak memory: {figures['peak_rss_mib']:,} MiB. "
        f"Time: {figures['seconds']['total']:.0f} s. Snapshot: {figures['snapshot']}.\n"
    )


def _quality(quality: Mapping[str, float]) -> Table:
    table = Table(title="Quality on held-back test queries (mean over tasks)", title_justify="left")
    oracle = quality["oracle"]
    names = [name for name in _QUALITY_ORDER if name in quality]
    table.add_column("")
    for name in names:
        table.add_column(name, justify="right")
    table.add_row("score", *(f"{quality[name]:.3f}" for name in names))
    table.add_row("of oracle", *(f"{quality[name] / oracle:.0%}" if oracle else "–" for name in names))
    return table


def _samples(rows: Sequence[Sequence[Any]]) -> Table:
    table = Table(title="Three answers with their routes", title_justify="left")
    for name in ("query", "answer", "reference", "route: task and weight"):
        table.add_column(name, overflow="fold")
    for query, text, target, route in rows:
        table.add_row(query, text, target, ", ".join(route))
    return table
