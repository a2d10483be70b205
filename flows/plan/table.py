"""A forecast as a table or JSON. Knows figures and units; does not know how they are made."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict

from rich.filesize import decimal
from rich.table import Table

from flows.plan.forecast import Figure
from flows.screen.screen import Screen


def as_json(base: str, figures: Sequence[Figure]) -> str:
    """One object, the figures by name."""
    return json.dumps({"base": base, "figures": [asdict(figure) for figure in figures]}, indent=2)


def show(base: str, figures: Sequence[Figure], out: Screen) -> None:
    """A line a figure, and what to do for better ones."""
    title = f"What a refresh of {base} will take"
    table = Table("", "expected", "range", "", "made of", title=title, title_justify="left")
    for figure in figures:
        source = "counted" if figure.counted else "assumed"
        table.add_row(figure.name, _told(figure, figure.value), _between(figure), source, figure.made_of)
    out.print(table)
    if not all(figure.counted for figure in figures):
        out.print(
            "Assumed figures are settings of the table [plan]. Counted ones come with `lorauter crawl` (adapters),"
            " `lorauter validate --headers-only` (admitted, sizes) and `lorauter tasks add`."
        )


def _between(figure: Figure) -> str:
    if figure.low is None or figure.high is None or figure.low == figure.high:
        return ""
    return f"{_told(figure, figure.low)} – {_told(figure, figure.high)}"


def _told(figure: Figure, value: float) -> str:
    if figure.unit == "bytes":
        return decimal(int(value))
    if figure.unit in ("hours", "minutes"):
        return f"{value:,.1f} {figure.unit}"
    return f"{value:,.0f}"
