"""The page: numbers equal SQL's, what a stranger wrote is text, nothing is asked of any network."""

from __future__ import annotations

import json
import re
import shutil
from base64 import b64decode
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from flows.cli.main import cli
from flows.home.home import Home, open_home
from flows.home.parts import ledger_of
from flows.page.render import render
from flows.page.text import script_json
from flows.page.write import linkable
from flows.stages import page_beside, write_page
from warehouse.snapshots.snapshot import Snapshot, publish
from warehouse.sql.session import connect, run

BASE = {"base": "org/base", "base_sha": "b" * 40}
SCRIPT = "<script>document.title = 'owned'</script>"
HOSTILE = f'"><img src=x onerror="document.title=1">{SCRIPT}\u202egnp'
ANN, BOB, EVE = (f"{name}@{'a' * 40}" for name in ("ann/letters", "bob/letters", "eve/copy"))


def _score(task: str, adapter: str, lift: float, chosen: bool = False, why: str = "behind") -> dict[str, Any]:
    told = {"n": 20, "mean": 0.5 + lift, "standard_error": 0.1, "lift": lift, "lift_standard_error": 0.05}
    return {**BASE, "task": task, "adapter": adapter, **told, "lift_n": 20, "rung": 2, "chosen": chosen, "why": why}


def _best(task: str, adapter: str, lift: float) -> dict[str, Any]:
    told = {"score": 0.5 + lift, "standard_error": 0.1, "n": 12, "base_score": 0.5, "lift": lift}
    return {**BASE, "task": task, "adapter": adapter, **told, "lift_standard_error": 0.04}


def _verdict(adapter: str, reason: str | None = None, licence: str = "mit") -> dict[str, Any]:
    findings = [{"reason": reason, "evidence": HOSTILE}] if reason else []
    judged = {"admitted": not reason, "downloaded": not reason, "reason": reason, "findings": findings}
    return {**BASE, "adapter": adapter, "repo": adapter.partition("@")[0], **judged, "licence": licence, "size": 1234}


def _rung(task: str, adapter: str, rung: int, kept: bool) -> dict[str, Any]:
    told = {"rung": rung, "n": 10 * rung, "mean": 0.5, "kept": kept, "why": ""}
    return {**BASE, "task": task, "adapter": adapter, **told}


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """A home whose ledger knows a card with a script."""
    opened = open_home(home=tmp_path / "home", base="org/base", endpoint="https://hub.example")
    ledger_of(opened).append("cards", [{"adapter": ANN, "text": f"Reads letters. {SCRIPT}"}])
    return opened


@pytest.fixture
def snapshot(home: Home) -> Snapshot:
    """Two tasks, three adapters, one of which is hostile wherever it can be."""
    scores = [
        _score("letters", ANN, 0.4, chosen=True, why=HOSTILE),
        _score("letters", BOB, 0.25),
        _score("letters", "", 0.0),
        _score("numbers", ANN, -0.125),
        _score("numbers", BOB, 0.3125, chosen=True),
        _score("numbers", "", 0.0),
    ]
    embedded = [{"task": "letters", "embedding": [1.0, 0.0]}, {"task": "numbers", "embedding": [0.0, 1.0]}]
    tables = {
        "tasks": [{**BASE, **one, "metric": "exact_match", "description": HOSTILE} for one in embedded],
        "best": [_best("letters", ANN, 0.35), _best("numbers", BOB, 0.3)],
        "scores": scores,
        "rungs": [_rung(task, key, 1, bool(key)) for task in ("letters", "numbers") for key in (ANN, BOB, "")],
        "adapters": [_verdict(ANN, licence=HOSTILE), _verdict(BOB), _verdict(EVE, reason="hostile_name")],
    }
    change = {"task": "letters", "adapter": ANN, "change": "rose", "lift_before": 0.1, "lift": 0.4, "since": "f" * 16}
    began = datetime(2026, 11, 22, tzinfo=UTC)
    took = {"run": "1", "command": "refresh", "started": began, "seconds": 61.0, "spent": 4321, "new": 12, "at": began}
    aside = {"changes": [{**BASE, **change}], "runs": [{**BASE, **took}]}
    return publish(home.snapshots, tables, {}, aside)


@pytest.fixture
def page(home: Home, snapshot: Snapshot, tmp_path: Path) -> Path:
    write_page(home, snapshot, tmp_path / "report.html")
    return tmp_path / "report.html"


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


# In a browser

Browse = Callable[[Path], Any]


@pytest.fixture(scope="module")
def browse(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browse]:
    """Opens a page in headless Chromium; without one the tests are skipped."""
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not chromium or not driver:
        pytest.skip("no browser: install chromium and chromium-driver to test the page in one")
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    profile = tmp_path_factory.mktemp("profile")
    for flag in ("--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={profile}", "--window-size=1280,900"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    found = webdriver.Chrome(service=webdriver.ChromeService(driver), options=options)

    def opened(page: Path) -> Any:
        for kind in ("browser", "performance"):
            found.get_log(kind)  # what was before
        found.get(page.as_uri())
        return found

    yield opened
    found.quit()


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


# Read by screen readers, used by keyboard, printed


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


# Several bases, evaluations


def test_in_a_browser_another_base_has_its_own_numbers(browse: Browse, home: Home, tmp_path: Path) -> None:
    other = {"base": "org/other", "base_sha": "c" * 40}
    one = [_score("letters", ANN, 0.4, chosen=True), _score("letters", "", 0.0)]
    tables = {
        "tasks": [{**base, "task": "letters", "embedding": [1.0, 0.0]} for base in (BASE, other)],
        "best": [_best("letters", ANN, 0.35), {**_best("letters", BOB, 0.2), **other}],
        "scores": [*one, {**_score("letters", BOB, 0.125, chosen=True), **other}],
        "adapters": [_verdict(ANN), _verdict(EVE, reason="gated"), {**_verdict(BOB), **other}],
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


def test_the_template_refuses_what_it_does_not_know() -> None:
    from jinja2 import UndefinedError

    with pytest.raises(UndefinedError):
        render({}, {})
