"""The plot of the noisy study: quality against pool size, a curve a router.

Knows: the study's figures, matplotlib. Does not know: how figures come about.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from warehouse.storage.files import write_atomically


def plot(found: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Curves with 95% intervals over test items; equal figures give equal files."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams |= {"svg.hashsalt": "lorauter", "svg.fonttype": "none"}
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(8, 5), layout="constrained")
    sizes = [one["size"] for one in found]
    for place, system in enumerate(found[0]["routers"]):
        averages = [one["routers"][place]["average"] for one in found]
        values = [average["value"] for average in averages]
        bars = [[max(a["value"] - a["low"], 0) for a in averages], [max(a["high"] - a["value"], 0) for a in averages]]
        shifted = [size * 1.015 ** (place - len(found[0]["routers"]) / 2) for size in sizes]  # bars beside each other
        label = f"{system['router']} + {system['composition']}"
        axes.errorbar(shifted, values, yerr=bars, marker="o", ms=4, capsize=2, color=f"C{place % 10}", label=label)
    axes.set(xscale="log", xlabel="adapters in the pool (20 honest, the others noisy)", ylabel="score: mean over tasks")
    axes.set_xticks(sizes, [str(size) for size in sizes])
    axes.minorticks_off()
    axes.set_title(f"{len(found[0]['picks'])} tasks, {found[0]['items']} test items (bar: 95% over items)", fontsize=10)
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    write_atomically(path, lambda part: figure.savefig(part, format="svg", metadata={"Date": None}))
    pyplot.close(figure)
