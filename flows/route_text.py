"""One query's route, told in lines. Knows routes and the catalog; does not know how a router weighs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from catalog.task import DEFAULT_TEMPLATE
from flows.home import Home, open_router
from flows.report import printable
from lorauter.gating import GatedRoute
from warehouse.snapshots import current_snapshot, open_snapshot


def explain_route(home: Home, text: str, router: str, folder: Path | None, explain: bool) -> Iterator[str]:
    """The mixture, or a gate's candidates, one a line; with `explain` also the tasks behind it and their scores."""
    snapshot = open_snapshot(folder) if folder else current_snapshot(home.snapshots)
    opened = open_router(home, snapshot, router, prompt_of=lambda query: DEFAULT_TEMPLATE.replace("{input}", query))
    found = opened.route([text])[0]
    weighed = () if isinstance(found, GatedRoute) else found.mixture
    for adapter, weight in weighed:
        yield printable(f"{weight:.3f}\t{adapter}")
    if isinstance(found, GatedRoute):
        yield from (printable(f"{found.gate.name}\t{adapter}") for adapter in found.gate.adapters)
    elif not weighed:
        yield "1.000\t(base)"
    if explain:
        best = {row["task"]: row for row in snapshot.read("best") if row["base"] == home.settings.base}
        yield f"confidence {found.confidence:.3f} (how near the query is to a task)"
        for match in found.tasks:
            row = best[match.task]
            yield printable(
                f"task {match.task}: similarity {match.similarity:.3f}, weight {match.weight:.3f}; its adapter"
                f" {row['adapter'] or '(base)'}: score {row['score']:.2f}, lift {row['lift']:+.2f} (n {row['n']})"
            )
