"""A home, its snapshot of two tasks and three adapters, its page, and a browser to open it in."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from flows.home.home import Home, open_home
from flows.home.parts import ledger_of
from flows.stages import write_page
from tests.flows.page.world import (
    ANN,
    BASE,
    BOB,
    EVE,
    HOSTILE,
    SCRIPT,
    Browse,
    best_row,
    rung_row,
    score_row,
    verdict_row,
)
from warehouse.snapshots.snapshot import Snapshot, publish


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
        {**score_row("letters", ANN, 0.4, chosen=True, why=HOSTILE), "format": f"chat {SCRIPT}"},
        score_row("letters", BOB, 0.25),
        {**score_row("letters", "", 0.0), "format": "chatml"},
        score_row("numbers", ANN, -0.125),
        score_row("numbers", BOB, 0.3125, chosen=True),
        score_row("numbers", "", 0.0),
    ]
    embedded = [{"task": "letters", "embedding": [1.0, 0.0]}, {"task": "numbers", "embedding": [0.0, 1.0]}]
    tables = {
        "tasks": [{**BASE, **one, "metric": "exact_match", "description": HOSTILE} for one in embedded],
        "best": [
            {**best_row("letters", ANN, 0.35), "format": f"chat {SCRIPT}", "base_format": "chatml"},
            best_row("numbers", BOB, 0.3),
        ],
        "scores": scores,
        "rungs": [rung_row(task, key, 1, bool(key)) for task in ("letters", "numbers") for key in (ANN, BOB, "")],
        "adapters": [verdict_row(ANN, licence=HOSTILE), verdict_row(BOB), verdict_row(EVE, reason="hostile_name")],
    }
    shown = {"place": 1, "format": "own", "source": "card code", "confidence": 0.8, "reason": f"shown {SCRIPT}"}
    tables["formats"] = [
        {**BASE, "adapter": ANN, **shown},
        {
            **BASE,
            "adapter": BOB,
            "place": 1,
            "format": "base_chat",
            "source": "base",
            "confidence": 0.3,
            "reason": "chat",
        },
    ]
    change = {"task": "letters", "adapter": ANN, "change": "rose", "lift_before": 0.1, "lift": 0.4, "since": "f" * 16}
    change |= {"format_before": "alpaca", "format": f"chat {SCRIPT}"}
    began = datetime(2026, 11, 22, tzinfo=UTC)
    took = {"run": "1", "command": "refresh", "started": began, "seconds": 61.0, "spent": 4321, "new": 12, "at": began}
    aside = {"changes": [{**BASE, **change}], "runs": [{**BASE, **took}]}
    return publish(home.snapshots, tables, {}, aside)


@pytest.fixture
def page(home: Home, snapshot: Snapshot, tmp_path: Path) -> Path:
    write_page(home, snapshot, tmp_path / "report.html")
    return tmp_path / "report.html"


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
