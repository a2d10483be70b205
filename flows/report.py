"""What a person sees at the end: the funnel, the best adapters, what it cost, how good it is.

Knows: rich, the figures of demo.json, SQL over the snapshot. Does not know: how figures come about.
Texts from a hub are shown as text: markup is escaped, control characters are replaced.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from rich.console import Console, Group
from rich.markup import escape
from rich.table import Table

from warehouse.snapshots import current_snapshot
from warehouse.sql import connect, run

_QUALITY_ORDER = ("oracle", "routed", "uniform", "random", "base", "majority")


def console(out: IO[str] | None = None) -> Console:
    """Where results are shown: as wide as the terminal, or wide enough for a table in a file."""
    found = Console(file=out)
    return found if found.is_terminal else Console(file=out, width=140)


def printable(value: object) -> str:
    """Text safe for a terminal: control and format characters become `�`."""
    return "".join("�" if unicodedata.category(c).startswith("C") and c not in "\n\t" else c for c in str(value))


def plain(value: object) -> str:
    """The same, with rich's markup escaped."""
    return escape(printable(value))


def show_demo(home: Path, figures: Mapping[str, Any], quality_sql: str, out: Console) -> None:
    """Print the demo's one screen."""
    snapshot = current_snapshot(home / "snapshots")
    with connect(snapshot, home / "ledger", Path(figures["answers"]).parent) as connection:
        best = run(connection, "SELECT task, adapter, score, lift, lift_standard_error, n FROM catalog").fetchall()
        samples = run(connection, _SAMPLES.format(answers=figures["answers"])).fetchall()
    out.print(Group(_funnel(figures["funnel"]), _best(best), _cost(figures), _quality(figures["quality"])))
    out.print(_samples(samples))
    out.print("\nThe same figures by SQL, in any DuckDB:")
    out.print(plain(quality_sql), soft_wrap=True, highlight=False)


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
    reasons = ", ".join(f"{plain(reason)} {count}" for reason, count in funnel["reasons"].items())
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
        table.add_row(plain(task), plain(name), f"{score:.2f}", f"{lift:+.2f}", f"{error:.2f}", str(n))
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
        table.add_row(plain(query), plain(text), plain(target), plain(", ".join(route)))
    return table
