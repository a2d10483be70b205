"""Text from outside reaches a screen as it is: it is no markup, and moves no cursor."""

from __future__ import annotations

import ast
from io import StringIO
from pathlib import Path

import pytest
from rich.table import Table
from rich.text import Text

from catalog.errors import HubTrouble
from flows.cli import main as cli
from flows.home.home import Home, open_home
from flows.home.parts import hub_of
from flows.screen import tables as described
from flows.screen.progress import say
from flows.screen.screen import Screen
from flows.screen.tables import Column, size_shown
from flows.stages import crawl

HOSTILE = "x[/y] [bold]b[/bold] :smile: \x1b[31mred\u202e"
SHOWN = "x[/y] [bold]b[/bold] :smile: �[31mred�"
FLOWS = Path(__file__).parents[3] / "flows"


def test_a_line_for_the_person_is_told_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    say(HOSTILE)

    assert capsys.readouterr().err == f"{SHOWN}\n"


def test_titles_columns_and_cells_are_shown_as_they_are() -> None:
    out = StringIO()
    table = Table(HOSTILE, title=HOSTILE)
    table.add_row(HOSTILE)

    Screen(out).print(table)

    assert out.getvalue().count(SHOWN) == 3


def test_a_described_table_is_drawn_with_its_headings_and_no_markup() -> None:
    out = StringIO()
    columns = [Column("adapter", breaks="never"), Column("size", right=True)]

    Screen(out).print(described.Table(columns, [["ann/[b]", size_shown(1_500_000)], ["x", "1"]], "[i]Sizes"))

    assert out.getvalue().splitlines() == [
        "[i]Sizes            ",
        "┏━━━━━━━━━┳━━━━━━━━┓",
        "┃ adapter ┃   size ┃",
        "┡━━━━━━━━━╇━━━━━━━━┩",
        "│ ann/[b] │ 1.5 MB │",
        "│ x       │      1 │",
        "└─────────┴────────┘",
    ]


def test_own_words_may_have_a_style_all_the_same() -> None:
    out = StringIO()

    Screen(out).print(Text("done", style="bold"))

    assert out.getvalue() == "done\n"


def test_a_listing_that_fails_with_brackets_in_its_error_ends_no_crawl(
    tmp_path: Path, tiny_hub: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    home: Home = open_home(home=tmp_path, endpoint=tiny_hub, base="tiny/llama", targets=["tag:a[/b]"])
    pages = hub_of(home).page

    def page(target: object, position: str | None = None) -> object:
        if "a[/b]" in str(target):
            raise HubTrouble("The hub said: no tag a[/b].")
        return pages(target, position)  # type: ignore[arg-type]

    monkeypatch.setattr(hub_of(home), "page", page)

    assert crawl(home).listed > 0

    assert "The hub said: no tag a[/b]. What was listed is kept" in capsys.readouterr().err


def test_an_error_moves_no_cursor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["lorauter", "--home", str(tmp_path), "why", "org/x\x1b[2J"])

    with pytest.raises(SystemExit):
        cli.main()

    assert capsys.readouterr().err.startswith("Error: org/x�[2J has not been seen.")


def test_nobody_else_makes_a_console_or_reads_markup() -> None:
    found = {
        (path.name, name.name)
        for path in FLOWS.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("rich")
        for name in node.names
        if name.name in ("Console", "TextColumn", "escape", "render", "print") or node.module == "rich.markup"
    }

    assert found == {("screen.py", "Console"), ("screen.py", "TextColumn")}
