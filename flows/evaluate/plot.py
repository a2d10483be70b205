"""The plot of an evaluation: each system's share of the oracle with its interval. Knows figures and matplotlib."""

from __future__ import annotations

from pathlib import Path

from flows.evaluate.report import Report
from warehouse.storage.files import write_atomically

_OFFSETS = {"non-ood": -0.22, "semi-ood": 0.0, "ood": 0.22}  # of the settings within a system's row


def plot(report: Report, path: Path) -> None:
    """Horizontal points with intervals, a row a router and composition, a colour a setting. Equal figures give equal
    files. Raises ModuleNotFoundError without matplotlib."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams |= {"svg.hashsalt": "lorauter", "svg.fonttype": "none"}
    from matplotlib import pyplot

    lines = [line for line in report.systems if line.share.value is not None]
    rows = list(dict.fromkeys(line.name for line in lines))
    figure, axes = pyplot.subplots(figsize=(8, 1.5 + 0.42 * len(rows)), layout="constrained")
    for number, setting in enumerate(dict.fromkeys(line.setting for line in lines)):
        points = [line for line in lines if line.setting == setting]
        shares = [[100 * (at or 0.0) for at in (p.share.value, p.share.low, p.share.high)] for p in points]
        places = [rows.index(line.name) + _OFFSETS[setting] for line in points]
        bars = [[max(v - low, 0) for v, low, _ in shares], [max(high - v, 0) for v, _, high in shares]]
        values = [value for value, _, _ in shares]
        axes.errorbar(values, places, xerr=bars, fmt="o", ms=4, capsize=2, color=f"C{number}", label=setting)
    axes.axvline(100, color="grey", ls=":")
    axes.set_yticks(range(len(rows)), rows)
    axes.invert_yaxis()
    axes.set_title(f"{len(report.tasks)} tasks, {report.items} test items, snapshot {report.snapshot}", fontsize=10)
    axes.set_xlabel("share of the oracle's score, % (bar: 95% over items)")
    axes.legend(loc="best")
    write_atomically(path, lambda part: figure.savefig(part, format="svg", metadata={"Date": None}))
    pyplot.close(figure)
