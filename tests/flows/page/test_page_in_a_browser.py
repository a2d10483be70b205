"""The page in a browser: nothing fails or is asked; found, sorted and read by eye, keyboard and screen reader."""

from __future__ import annotations

import json
from base64 import b64decode
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from flows.home.home import Home
from flows.home.parts import ledger_of
from flows.stages import write_page
from tests.flows.page.world import ANN, BASE, BOB, EVE, HOSTILE, SCRIPT, Browse, best_row, score_row, verdict_row
from warehouse.snapshots.snapshot import Snapshot, publish
from warehouse.sql.session import connect, run


def _texts(browser: Any, selector: str) -> list[str]:
    asked = "return [...document.querySelectorAll(arguments[0])].map((node) => node.textContent)"
    found: list[str] = browser.execute_script(asked, selector)
    return found


def test_in_a_browser_nothing_fails_and_nothing_is_asked(browse: Browse, page: Path) -> None:
    browser = browse(page)

    requests = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    asked = {m["params"]["request"]["url"] for m in requests if m["method"] == "Network.requestWillBeSent"}
    assert browser.get_log("browser") == []
    assert {url for url in asked if not url.startswith(("data:", "chrome:"))} == {page.as_uri()}
    assert browser.title.startswith("lorauter catalog")
    assert len(_texts(browser, ".chart svg")) + len(_texts(browser, ".chart canvas")) >= 6


def test_in_a_browser_the_heatmap_shows_the_lifts_of_sql(
    browse: Browse, page: Path, home: Home, snapshot: Snapshot
) -> None:
    with connect(snapshot, ledger_of(home)) as connection:
        asked = "SELECT round(lift, 3) FROM scores WHERE adapter <> '' ORDER BY adapter, task"
        wanted = [f"{lift:+.3f}" for (lift,) in run(connection, asked).fetchall()]

    cells = _texts(browse(page), "#heat tbody td:not(:nth-child(2))")  # the second is the row's best

    assert [cell.replace("★", "").strip() for cell in cells] == wanted


def test_in_a_browser_a_task_and_a_card_tell_the_formats(browse: Browse, page: Path) -> None:
    browser = browse(page)
    says = _texts(browser, "#task-says")[0]
    place = _texts(browser, "#scores-table thead th").index("asked in")
    cells = _texts(browser, f"#scores-table tbody tr :nth-child({place + 1})")
    browser.execute_script("location.hash = '#adapter-0-0'; dispatchEvent(new HashChangeEvent('hashchange'))")

    assert f", asked in chat {SCRIPT}, the base in chatml, score " in says
    assert sorted(cells) == sorted([f"chat {SCRIPT}", "chatml", "task’s own"])
    assert f"chat {SCRIPT}" in _texts(browser, "details.card[open] td bdi")
    assert browser.title.startswith("lorauter catalog")


def test_in_a_browser_the_heatmap_sorts_and_search_finds(browse: Browse, page: Path) -> None:
    browser = browse(page)
    names = "#heat tbody th"
    first = _texts(browser, names)

    browser.execute_script("[...document.querySelectorAll('#heat thead th.task button')].at(-1).click()")
    sorted_ = _texts(browser, names)
    told = browser.execute_script(
        "return [...document.querySelectorAll('#heat thead th')].map((cell) => cell.getAttribute('aria-sort'))"
    )
    browser.execute_script(
        "const box = document.getElementById('heat-adapters'); box.value = 'bob'; box.dispatchEvent(new Event('input'))"
    )

    assert (first, sorted_) == (["ann/letters", "bob/letters"], ["bob/letters", "ann/letters"])
    assert told[-1] == "descending"
    assert _texts(browser, names) == ["bob/letters"]
    assert _texts(browser, "#heat-count") == ["1 adapter, 2 tasks"]


def test_in_a_browser_a_card_with_a_script_shows_it(browse: Browse, page: Path) -> None:
    browser = browse(page)

    browser.execute_script("document.querySelectorAll('details.card').forEach((card) => { card.open = true })")
    browser.execute_async_script("setTimeout(arguments[0], 200)")

    assert f"Reads letters. {SCRIPT}" in _texts(browser, ".words")
    assert browser.title.startswith("lorauter catalog")
    assert browser.execute_script("return document.querySelectorAll('img').length") == 0


def test_in_a_browser_the_page_fits_a_phone(browse: Browse, page: Path) -> None:
    browser = browse(page)

    size = {"width": 400, "height": 800, "deviceScaleFactor": 1, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.execute_async_script("setTimeout(arguments[0], 300)")
    width = browser.execute_script("return document.documentElement.scrollWidth")
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})

    assert width == 400


@pytest.fixture(scope="module")
def axe() -> str:
    """The script of axe-core, which checks a page against WCAG."""
    return files("axe_core_python").joinpath("axe.min.js").read_text(encoding="utf-8")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_in_a_browser_axe_finds_no_fault(browse: Browse, page: Path, axe: str, theme: str) -> None:
    browser = browse(page)
    while browser.find_element("id", "theme").text != f"Theme: {theme}":
        browser.find_element("id", "theme").click()
    browser.execute_script("document.querySelectorAll('details.card').forEach((card) => { card.open = true })")
    browser.execute_async_script("setTimeout(arguments[0], 800)")

    browser.execute_script(axe)
    asked = {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"]}
    found = browser.execute_async_script("axe.run(document, {runOnly: arguments[0]}).then(arguments[1])", asked)

    told = {rule["id"]: [node["html"][:200] for node in rule["nodes"]] for rule in found["violations"]}
    assert (told, len(found["passes"]) > 30) == ({}, True)


def _focused(browser: Any) -> str:
    asked = "const node = document.activeElement; return node.id || node.textContent.trim().slice(0, 40)"
    return str(browser.execute_script(asked))


def test_in_a_browser_the_keyboard_alone_finds_sorts_and_opens(browse: Browse, page: Path) -> None:
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.keys import Keys

    browser = browse(page)

    def press(*keys: str) -> None:
        ActionChains(browser).send_keys(*keys).perform()

    def tab_to(wanted: str) -> None:
        for _ in range(80):
            press(Keys.TAB)
            if _focused(browser) == wanted:
                outline = browser.execute_script("return getComputedStyle(document.activeElement).outlineStyle")
                assert outline == "solid", f"the focus on {wanted} cannot be seen"
                return
        raise AssertionError(f"{wanted} is not reached")

    tab_to("heat-adapters")
    press("letters")
    tab_to("numbers")  # a heading of the heatmap
    press(Keys.ENTER)
    browser.execute_async_script("setTimeout(arguments[0], 400)")
    after_sorting = _focused(browser)
    press(Keys.ENTER)  # the other way round
    found = _texts(browser, "#heat tbody th")
    tab_to("ann/letters")
    press(Keys.ENTER)
    browser.execute_async_script("setTimeout(arguments[0], 400)")
    opened = browser.execute_script("return document.querySelector('details.card[open] summary').textContent")

    assert (after_sorting, sorted(found)) == ("numbers", ["ann/letters", "bob/letters"])
    assert opened.startswith("ann/letters") and _focused(browser).startswith("ann/letters")
    browser.back()
    assert "#adapter-" not in browser.current_url


def _shown(browser: Any, selector: str) -> bool:
    asked = "return [...document.querySelectorAll(arguments[0])].some((node) => node.getClientRects().length > 0)"
    return bool(browser.execute_script(asked, selector))


def test_in_a_browser_paper_has_the_tables_and_no_controls(browse: Browse, page: Path) -> None:
    browser = browse(page)
    browser.execute_script("document.documentElement.setAttribute('data-theme', 'dark')")
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    try:
        shown = {what: _shown(browser, what) for what in ("#heat", ".catalog", "#theme", "nav", ".controls", ".paper")}
        ground = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
        browser.execute_script("document.getElementById('heat').className = 'wide'")
        wide = (_shown(browser, "#heat"), _shown(browser, ".paper"), _shown(browser, "#overview"))
    finally:
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
    printed = browser.execute_cdp_cmd("Page.printToPDF", {"preferCSSPageSize": True})["data"]

    assert shown == {
        "#heat": True, ".catalog": True, "#theme": False, "nav": False, ".controls": False, ".paper": False
    }  # fmt: skip
    assert ground == "rgb(255, 255, 255)"
    assert wide == (False, True, True)
    assert b64decode(printed).startswith(b"%PDF")


def test_in_a_browser_another_base_has_its_own_numbers(browse: Browse, home: Home, tmp_path: Path) -> None:
    other = {"base": "org/other", "base_sha": "c" * 40}
    one = [score_row("letters", ANN, 0.4, chosen=True), score_row("letters", "", 0.0)]
    tables = {
        "tasks": [{**base, "task": "letters", "embedding": [1.0, 0.0]} for base in (BASE, other)],
        "best": [best_row("letters", ANN, 0.35), {**best_row("letters", BOB, 0.2), **other}],
        "scores": [*one, {**score_row("letters", BOB, 0.125, chosen=True), **other}],
        "adapters": [verdict_row(ANN), verdict_row(EVE, reason="gated"), {**verdict_row(BOB), **other}],
    }
    write_page(home, publish(home.snapshots, tables, {}), tmp_path / "two.html")
    browser = browse(tmp_path / "two.html")

    def told() -> tuple[list[str], list[str], bool]:
        cells = [text.replace("★", "").strip() for text in _texts(browser, "#heat tbody td:nth-child(3)")]
        return _texts(browser, "#heat tbody th"), cells, _shown(browser, '[data-base="0"] table.reasons')

    first = told()
    browser.execute_script(
        "const box = document.getElementById('base'); box.value = '1'; box.dispatchEvent(new Event('change'))"
    )

    assert _texts(browser, "#base option") == ["org/base", "org/other"]
    assert first == (["ann/letters"], ["+0.400"], True)
    assert told() == (["bob/letters"], ["+0.125"], False)


def test_in_a_browser_an_evaluation_of_the_snapshot_stands_there(
    browse: Browse, home: Home, snapshot: Snapshot, tmp_path: Path
) -> None:
    line = {
        "setting": "ood", "router": HOSTILE, "composition": "mixture",
        "average": {"value": 0.5, "low": 0.4, "high": 0.6}, "share": {"value": 0.75, "low": 0.7, "high": 0.8},
    }  # fmt: skip
    for name, of in (("ours", snapshot.id), ("older", "0" * 16)):
        folder = home.root / "evaluations" / name
        folder.mkdir(parents=True)
        report = {"snapshot": of, "tasks": {"letters": {"n": 20}}, "systems": [line]}
        (folder / "evaluation.json").write_text(json.dumps(report))
    write_page(home, snapshot, tmp_path / "evaluated.html")

    browser = browse(tmp_path / "evaluated.html")
    browser.execute_async_script("setTimeout(arguments[0], 400)")

    cells = _texts(browser, "table.evaluations tbody tr > *")
    assert (len(cells), cells[0], cells[4:]) == (9, "ours", ["0.500", "0.750", "0.700", "0.800", "20"])
    assert SCRIPT in cells[2] and browser.title.startswith("lorauter catalog")
    assert _shown(browser, "#evaluation-chart svg")
