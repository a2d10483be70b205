"""The plot of the bandit's simulation: regret against requests, a panel a world, a curve a policy.

Knows: the simulation's figures, matplotlib. Does not know: how figures come about.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from warehouse.storage.files import write_atomically


def plot(found: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Curves with 95% intervals over seeds, of policies that have regret; equal figures give equal files."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams |= {"svg.hashsalt": "lorauter", "svg.fonttype": "none"}
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(1, len(found), figsize=(4.4 * len(found), 4.6), layout="constrained")
    for axes, world in zip(panels, found, strict=True):
        above = {name: of for name, of in world["policies"].items() if of["regret"][-1]["value"] > 0}
        for place, (name, of) in enumerate(above.items()):
            style = "-" if name.startswith("POLAR") else "--"
            values = [one["value"] for one in of["regret"]]
            axes.plot(of["points"], values, style, marker="o", ms=3, color=f"C{place % 10}", label=name)
            low, high = ([one[end] for one in of["regret"]] for end in ("low", "high"))
            axes.fill_between(of["points"], low, high, color=f"C{place % 10}", alpha=0.15, linewidth=0)
        axes.set(xscale="log", yscale="log", xlabel="requests", title=world["name"])
        axes.set_xticks(of["points"], [f"{point // 1024}k" for point in of["points"]])
        axes.minorticks_off()
    panels[0].set_ylabel("regret against the best fixed cache")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    write_atomically(path, lambda part: figure.savefig(part, format="svg", metadata={"Date": None}))
    pyplot.close(figure)
