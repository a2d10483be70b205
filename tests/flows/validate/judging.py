"""A crawl and its verdicts on the tiny hub, as the tests ask for them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from catalog.adapters.adapter import AdapterId
from flows.home.home import Home, open_home
from flows.home.parts import ledger_of
from flows.mirror.server import HubServer
from flows.stages import crawl, validate
from flows.validate.verdicts import Judged

BASE, OTHER_BASE = "tiny/llama", "tiny/other"
SOUND = {"ann/colours": None, "bob/animals": None, "cleo/compass": None, "wild/checkpoints:checkpoint-200": None}


def run(tmp_path: Path, hub: HubServer, **settings: Any) -> tuple[Home, Judged]:
    home = open_home(home=tmp_path / "home", endpoint=hub.endpoint, **{"base": BASE, **settings})
    crawl(home)
    return home, validate(home)


def reasons(home: Home, base: str = BASE) -> dict[str, str | None]:
    rows = [row for row in ledger_of(home).current("verdicts") if row["base"] == base]
    return {AdapterId.parse(row["adapter"]).name: row["reason"] for row in rows}


def admitted(home: Home, base: str = BASE) -> dict[str, str | None]:
    return {name: reason for name, reason in reasons(home, base).items() if reason is None}


def change(folder: Path, repo: str, **fields: object) -> None:
    config = folder / repo / "adapter_config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | fields))
