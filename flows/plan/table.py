"""A forecast as a table or JSON. Knows figures and units; does not know how they are made."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict

from flows.plan.forecast import Figure
from flows.screen.screen import Screen
from flows.screen.tables import Column, Table, size_shown


def as_json(base: str, figures: Sequence[Figure]) -> str:
    """One object, the figures by name."""
    return json.dumps({"base": base, "figures": [asdict(figure) for figure in figures]}, indent=2)


def show(base: str, figures: Sequence[Figure], out: Screen) -> None:
    """A line a figure, and what to do for better ones."""
    columns = [Column(name) for name in ("", "expected", "range", "", "made of")]
    out.print(Table(columns, [_cells(figure) for figure in figures], f"What a refresh of {base} will take"))
    if not all(figure.counted for figure in figures):
        out.print(
            "Assumed figures are settings of the table [plan]. Counted ones come with `lorauter crawl` (adapters),"
            " `lorauter validate --headers-only` (admitted, sizes) and `lorauter tasks add`."
        )


def _cells(figure: Figure) -> list[str]:
    between = ""
    if figure.low is not None and figure.high is not None and figure.low != figure.high:
        between = f"{_told(figure, figure.low)} – {_told(figure, figure.high)}"
    source = "counted" if figure.counted else "assumed"
    return [figure.name, _told(figure, figure.value), between, source, figure.made_of]


def _told(figure: Figure, value: float) -> str:
    if figure.unit == "bytes":
        return size_shown(value)
    if figure.unit in ("hours", "minutes"):
        return f"{value:,.1f} {figure.unit}"
    return f"{value:,.0f}"
