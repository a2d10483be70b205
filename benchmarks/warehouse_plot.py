"""The plot of the warehouse benchmark: what grows how, from ten thousand adapters to a million.

Knows: the benchmark's figures, matplotlib. Does not know: how figures come about.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from warehouse.storage.files import write_atomically

_SHOWN = 8  # views with a name in the legend: the slowest


def plot(found: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Left: p95 of every view. Right: publish, memory and bytes. Equal figures give equal files."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams |= {"svg.hashsalt": "lorauter", "svg.fonttype": "none"}
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(12, 5), layout="constrained")
    sizes = [one["adapters"] for one in found]
    last = found[-1]["views"]["asked"]
    for place, name in enumerate(sorted(last, key=lambda name: -last[name]["p95_ms"])):
        style = {"color": f"C{place}", "label": name} if place < _SHOWN else {"color": "0.8"}
        left.plot(sizes, [one["views"]["asked"][name]["p95_ms"] for one in found], marker="o", ms=3, **style)
    left.axhline(200, color="0.3", ls=":", lw=1)
    left.set(xscale="log", yscale="log", xlabel="adapters", ylabel="p95 of a view, ms (dotted: 200)")
    for name, label in (("publish_seconds", "publish, s"), ("peak_mib", "peak memory of publish, MiB")):
        right.plot(sizes, [one[name] for one in found], marker="o", ms=4, label=label)
    right.plot(sizes, [sum(one["bytes"].values()) / 2**20 for one in found], marker="o", ms=4, label="all files, MiB")
    right.set(xscale="log", yscale="log", xlabel="adapters")
    for axes in (left, right):
        axes.legend(fontsize=8)
    figure.suptitle("50 tasks, five scores an adapter, two cores", fontsize=10)
    write_atomically(path, lambda part: figure.savefig(part, format="svg", metadata={"Date": None}))
    pyplot.close(figure)
