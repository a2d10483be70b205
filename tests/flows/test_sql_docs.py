"""docs/sql.md and the command's help name every view."""

from __future__ import annotations

import re
from pathlib import Path

from flows.cli import cli
from warehouse.schemas import ASIDE, SNAPSHOT
from warehouse.views import all_views

ROOT = Path(__file__).parents[2]


def test_every_view_is_in_the_documentation() -> None:
    document = (ROOT / "docs/sql.md").read_text(encoding="utf-8")
    table = document.partition("## The views")[2].partition("\n\nThe tables")[0]
    told = set(re.findall(r"`(\w+)`", "\n".join(line.split("|")[1] for line in table.splitlines() if "|" in line)))
    assert told == {view.name for view in all_views()} - {*SNAPSHOT, *ASIDE}


def test_every_view_is_in_the_help() -> None:
    listed = str(cli.commands["sql"].help).partition("Views: ")[2].partition("docs/sql.md")[0]
    assert {view.name for view in all_views()} <= set(re.findall(r"\w+", listed))
