"""docs/sql.md and the command's help name every view."""

from __future__ import annotations

import re
from pathlib import Path

import duckdb
import pytest

from flows.cli.main import cli
from warehouse.schemas.snapshot import ASIDE, SNAPSHOT
from warehouse.snapshots.views import all_views

ROOT = Path(__file__).parents[3]


def test_every_view_is_in_the_documentation() -> None:
    document = (ROOT / "docs/sql.md").read_text(encoding="utf-8")
    table = document.partition("## The views")[2].partition("\n\nThe tables")[0]
    told = set(re.findall(r"`(\w+)`", "\n".join(line.split("|")[1] for line in table.splitlines() if "|" in line)))
    assert told == {view.name for view in all_views()} - {*SNAPSHOT, *ASIDE}


def test_every_view_is_in_the_help() -> None:
    listed = str(cli.commands["sql"].help).partition("Views: ")[2].partition("docs/sql.md")[0]
    assert {view.name for view in all_views()} <= set(re.findall(r"\w+", listed))


@pytest.mark.parametrize("document", ["README.md", "docs/sql.md"])
def test_every_query_in_the_documentation_is_sql(document: str) -> None:
    """A column called at must be quoted."""
    text = " ".join((ROOT / document).read_text(encoding="utf-8").split())
    queries = re.findall(r"`((?:SELECT|FROM) [^`]+)`", text) + re.findall(r'lorauter sql "((?:[^"\\]|\\.)+)"', text)
    assert queries
    for query in queries:
        duckdb.extract_statements(re.sub(r"\\(.)", r"\1", query))  # as the shell hands it on
