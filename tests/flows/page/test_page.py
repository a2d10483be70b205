"""The page: numbers equal SQL's, what a stranger wrote is text, nothing is asked of any network."""

from __future__ import annotations

import json
import re
from html import escape
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from flows.cli.main import cli
from flows.home.home import Home
from flows.home.parts import ledger_of
from flows.page.render import render
from flows.page.text import script_json
from flows.page.write import linkable
from flows.stages import page_beside, write_page
from tests.flows.page.world import SCRIPT
from warehouse.snapshots.snapshot import Snapshot, publish
from warehouse.sql.session import connect, run


def _data(page: Path) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="[^"]*">(.*?)</script>', page.read_text("utf-8"), re.S)
    assert found
    drawn: dict[str, Any] = json.loads(found[1])
    return drawn


def test_the_numbers_of_the_page_are_those_of_sql(home: Home, snapshot: Snapshot, page: Path) -> None:
    world = _data(page)["bases"][0]
    with connect(snapshot, ledger_of(home)) as connection:
        asked = "SELECT task, adapter, round(1000 * mean), round(1000 * lift), n FROM scores ORDER BY task, adapter"
        wanted = run(connection, asked).fetchall()
        seen, rejected, *_ = run(connection, "FROM funnel").fetchall()[0]

    adapters, scores = world["adapters"], world["scores"]
    keys = ["", *(f"{name}@{sha}" for name, sha in zip(adapters["name"], adapters["sha"], strict=True))]
    columns = [scores[name] for name in ("task", "adapter", "mean", "lift", "n")]
    shown = [
        (world["tasks"]["name"][task], keys[adapter + 1], mean, lift, n)
        for task, adapter, mean, lift, n in zip(*columns, strict=True)
    ]
    assert shown == wanted
    assert f"Of {seen} adapters seen" in page.read_text("utf-8") and f"{rejected} rejected" in page.read_text("utf-8")


def test_changes_and_runs_stand_on_the_page(page: Path) -> None:
    html = page.read_text(encoding="utf-8")

    assert "<td>rose</td>" in html and '<td class="number">4321</td>' in html
    assert "1 rose" in html


def test_what_strangers_wrote_is_text(page: Path) -> None:
    html = page.read_text(encoding="utf-8")

    assert SCRIPT not in html and "<img src=x" not in html and "\u202e" not in html
    assert _data(page)["bases"][0]["adapters"]["card"][0] == f"Reads letters. {SCRIPT}"
    assert script_json("</script>\u2028&") == '"\\u003c/script\\u003e\\u2028\\u0026"'


def test_an_adapters_prompt_format_stands_there_with_what_says_so(page: Path) -> None:
    told = dict(zip(*(_data(page)["bases"][0]["adapters"][name] for name in ("name", "format")), strict=True))

    assert told == {
        "ann/letters": f"own (0.80, card code: shown {SCRIPT})",
        "bob/letters": "unsure: base_chat (0.30, base: chat)",
        "eve/copy": "",
    }


def test_the_picks_and_the_bases_formats_stand_beside_them_as_text(page: Path) -> None:
    html, world = page.read_text("utf-8"), _data(page)["bases"][0]

    escaped = f"chat {escape(SCRIPT)}".replace("&#x27;", "&#39;")
    assert f"<td><bdi>{escaped}</bdi></td><td><bdi>chatml</bdi></td>" in html
    assert "<td><bdi>task’s own</bdi></td><td><bdi>task’s own</bdi></td>" in html
    assert f"<td><bdi>alpaca</bdi></td><td><bdi>{escaped}</bdi></td></tr>" in html
    tasks = [dict(zip(world["tasks"]["name"], world["tasks"][name], strict=True)) for name in ("format", "base_format")]
    assert tasks == [{"letters": f"chat {SCRIPT}", "numbers": ""}, {"letters": "chatml", "numbers": ""}]
    assert world["formats"] == {"task": [0, 0], "adapter": [-1, 0], "format": ["chatml", f"chat {SCRIPT}"]}


def test_a_catalog_of_one_template_says_nothing_of_formats(home: Home, snapshot: Snapshot, tmp_path: Path) -> None:
    tables = {name: snapshot.read(name) for name in ("tasks", "best", "scores", "adapters")}
    bare = [{**row, "format": None, "base_format": None} for row in tables["best"]]
    scores = [{**row, "format": None} for row in tables["scores"]]
    plain = publish(tmp_path / "plain", {**tables, "best": bare, "scores": scores}, {})

    write_page(home, plain, tmp_path / "plain.html")

    html = (tmp_path / "plain.html").read_text("utf-8").partition("<script")[0]
    assert "asked in" not in html and "task’s own" not in html


def test_the_policy_forbids_every_connection(page: Path) -> None:
    found = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page.read_text("utf-8"))

    assert found and found[1].startswith("default-src &#39;none&#39;;")
    assert "http" not in found[1] and "unsafe" not in found[1]


@pytest.mark.parametrize(
    ("endpoint", "link"),
    [
        ("https://hub.example/", "https://hub.example"),
        ("http://hub.example", ""),
        ("javascript:alert(1)", ""),
        ("https://user:secret@hub.example", ""),
        ("https://[", ""),
    ],
)
def test_only_a_plain_https_hub_is_linked_to(endpoint: str, link: str) -> None:
    assert linkable(endpoint) == link


def test_equal_homes_give_equal_bytes(home: Home, snapshot: Snapshot, page: Path, tmp_path: Path) -> None:
    write_page(home, snapshot, tmp_path / "again.html")

    assert (tmp_path / "again.html").read_bytes() == page.read_bytes()


def test_a_page_that_cannot_be_written_is_told_and_no_failure(
    home: Home, snapshot: Snapshot, capsys: pytest.CaptureFixture[str]
) -> None:
    (home.root / "reports").write_text("in the way")

    assert page_beside(home, snapshot) is None

    told = capsys.readouterr().err
    assert told.startswith("No page was written (") and "lorauter report --out report.html" in told


def test_the_command_writes_the_same_page(home: Home, snapshot: Snapshot, page: Path, tmp_path: Path) -> None:
    out = tmp_path / "by-command.html"
    env = {"LORAUTER_ENDPOINT": "https://hub.example", "LORAUTER_BASE": "org/base"}
    result = CliRunner(env=env).invoke(
        cli, ["--home", str(home.root), "report", "--out", str(out), "--as-of", snapshot.id[:8]]
    )

    assert result.exit_code == 0, result.exception
    assert out.read_bytes() == page.read_bytes()


def test_the_template_refuses_what_it_does_not_know() -> None:
    from jinja2 import UndefinedError

    with pytest.raises(UndefinedError):
        render({}, {})
