"""An evaluation on a screen or in a pipe: shares by setting, then each setting's scores, differences and cost.

Knows: the fields of a report. Does not know: how figures come about, how a table is drawn.
"""

from __future__ import annotations

from collections.abc import Sequence

from flows.evaluate.report import Report, SystemFigures
from flows.screen.screen import Screen
from flows.screen.tables import Column, Table
from lorauter.evaluation.figures import Figure

MOST_DOMAINS = 10  # a table of more is too wide to read


def show(report: Report, out: Screen) -> None:
    """Print the tables."""
    settings = list(dict.fromkeys(line.setting for line in report.systems))
    out.print(_shares(report.systems, settings))
    for setting in settings:
        chosen = [line for line in report.systems if line.setting == setting]
        out.print(_scores(chosen, setting, report.reference))
        if len(report.domains) <= MOST_DOMAINS:
            out.print(_domains(chosen, setting, report.domains))
    for note in _notes(report):
        out.print(note, soft_wrap=True)


def _shares(lines: Sequence[SystemFigures], settings: Sequence[str]) -> Table:
    by_system = {(line.router, line.composition, line.setting): line for line in lines}
    rows = []
    for router, composition in dict.fromkeys((line.router, line.composition) for line in lines):
        of_settings = [by_system.get((router, composition, setting)) for setting in settings]
        cells = [_figure(line.share, 100, ".1f") if line else "" for line in of_settings]
        rows.append([router, composition, *cells])
    return _table("Share of the oracle's score, %: mean over domains [95% over items]", settings, rows)


def _scores(lines: Sequence[SystemFigures], setting: str, reference: str | None) -> Table:
    columns = ["score: mean over tasks", f"minus {reference}" if reference else "", "refused", "passes", "s to route"]
    rows = []
    for line in lines:
        cost = line.cost
        cells = [line.router, line.composition, _figure(line.average, 1, ".3f")]
        if reference:
            difference = None if line.name == reference else line.difference
            cells.append("–" if difference is None else _figure(difference, 1, "+.3f"))
        cells += [f"{line.refused:.1%}" if line.refused else "", f"{cost.passes:g}"]
        answered = "cached" if cost.answer_seconds is None else f"{cost.answer_seconds:.4f}"
        rows.append([*cells, f"{cost.route_seconds:.4f}", answered, f"{cost.new:,}"])
    headings = [name for name in (*columns, "s to answer", "new") if name]
    return _table(f"{setting}: scores and cost a query", headings, rows)


def _domains(lines: Sequence[SystemFigures], setting: str, domains: Sequence[str]) -> Table:
    rows = []
    for line in lines:
        cells = [f"{line.domains[name].score:.3f}" for name in domains]
        rows.append([line.router, line.composition, *cells])
    return _table(f"{setting}: mean score by domain", domains, rows)


def _table(title: str, headings: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    system = [Column(name, breaks="never") for name in ("router", "composition")]
    return Table([*system, *(Column(name, right=True) for name in headings)], rows, title)


def _figure(figure: Figure, scale: float, form: str) -> str:
    """A figure with its interval; – where it is not known."""
    value, low, high = figure.value, figure.low, figure.high
    if value is None or low is None or high is None:
        return "–"
    return f"{scale * value:{form}} [{scale * low:{form}}, {scale * high:{form}}]"


def _notes(report: Report) -> list[str]:
    notes = [f"{len(report.tasks)} tasks, {report.items:,} test items, snapshot {report.snapshot}."]
    if report.without_share:
        notes.append(f"Left out of shares, since the oracle scores 0 there: {', '.join(report.without_share)}.")
    notes += [
        f"Refused by {line.name}, {line.setting}: {reason}" for line in report.systems for reason in line.refusals[:1]
    ]
    return notes
