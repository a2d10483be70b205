"""Which of several repos with the same weights is the original, and when its copy takes the place."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

from catalog.adapters.adapter import AdapterId
from catalog.curation import BAN, UNBAN
from flows.home.home import Home, open_home
from flows.home.parts import ledger_of
from flows.mirror.faults import Faults
from flows.mirror.server import HubServer
from flows.stages import crawl, curate, validate
from tests.flows.validate.judging import BASE, reasons, run


def test_a_duplicate_is_linked_and_not_downloaded(tmp_path: Path, hub: HubServer) -> None:
    home, _ = run(tmp_path, hub)
    row = next(row for row in ledger_of(home).current("verdicts") if row["repo"] == "wild/copycat")
    assert (AdapterId.parse(row["duplicate_of"]).name, row["downloaded"]) == ("ann/colours", False)
    assert not list((home.root / "hub").glob("models--wild--copycat"))


def made(folder: Path, at: float, downloads: int = 0) -> None:
    """Let a hub's repo be of that age."""
    (folder / ".hub.json").write_text(json.dumps({"downloads": downloads}))
    for file in folder.iterdir():
        os.utime(file, (at, at))


def originals(home: Home) -> dict[str, str | None]:
    """Whose weights the original and its copy are said to be."""
    rows = [row for row in ledger_of(home).current("verdicts") if row["repo"] in ("ann/colours", "wild/copycat")]
    return {row["repo"]: row["duplicate_of"] and AdapterId.parse(row["duplicate_of"]).name for row in rows}


def test_a_copy_that_came_later_does_not_displace_the_original(tmp_path: Path, hub: HubServer, folder: Path) -> None:
    made(folder / "ann/colours", at=1.6e9)
    made(folder / "wild/copycat", at=1.7e9, downloads=1000)

    home, _ = run(tmp_path, hub)

    assert originals(home) == {"ann/colours": None, "wild/copycat": "ann/colours"}
    listed = {row["repo"]: row["created"] for row in ledger_of(home).current("repos")}
    assert (listed["ann/colours"], listed["wild/copycat"]) == ("2020-09-13T12:26:40.000Z", "2023-11-14T22:13:20.000Z")


def test_a_banned_original_gives_its_place_to_the_copy_until_the_ban_is_lifted(
    tmp_path: Path, hub: HubServer, folder: Path
) -> None:
    made(folder / "ann/colours", at=1.7e9)
    made(folder / "wild/copycat", at=1.6e9)
    home, _ = run(tmp_path, hub)
    before = originals(home)
    curate(home, BAN, "wild/copycat", "", "stolen", "ann")

    validate(home)

    banned = originals(home), reasons(home)["ann/colours"]
    curate(home, UNBAN, "wild/copycat", "", "it was not", "ann")
    validate(home)
    assert banned == ({"ann/colours": None, "wild/copycat": None}, None)
    assert originals(home) == before == {"ann/colours": "wild/copycat", "wild/copycat": None}


def test_a_banned_copy_stays_the_copy_that_it_is(tmp_path: Path, hub: HubServer, folder: Path) -> None:
    made(folder / "ann/colours", at=1.6e9)
    made(folder / "wild/copycat", at=1.7e9)
    home = open_home(home=tmp_path / "home", endpoint=hub.endpoint, base=BASE)
    curate(home, BAN, "wild/copycat", "", "stolen", "ann")

    home, _ = run(tmp_path, hub)

    assert originals(home) == {"ann/colours": None, "wild/copycat": "ann/colours"}
    assert not list((home.root / "hub").glob("models--wild--copycat"))


def test_an_original_whose_weights_cannot_be_had_gives_its_place_to_the_copy(
    tmp_path: Path, hub: HubServer, folder: Path
) -> None:
    made(folder / "ann/colours", at=1.6e9)
    made(folder / "wild/copycat", at=1.7e9)
    home = open_home(home=tmp_path / "home", endpoint=hub.endpoint, base=BASE)
    crawl(home)
    validate(home, download=False)
    shutil.rmtree(folder / "ann/colours")

    validate(home)

    assert (reasons(home)["ann/colours"], reasons(home)["wild/copycat"]) == ("unreachable", None)
    assert originals(home) == {"ann/colours": None, "wild/copycat": None}


def test_trouble_on_the_way_to_an_original_makes_no_original_of_its_copy(
    tmp_path: Path, hub: HubServer, folder: Path
) -> None:
    made(folder / "ann/colours", at=1.6e9)
    made(folder / "wild/copycat", at=1.7e9)
    home = open_home(home=tmp_path / "home", endpoint=hub.endpoint, base=BASE)
    crawl(home)
    validate(home, download=False)
    hub.set_faults(Faults(forbidden=1.0))

    validate(home)

    assert (reasons(home)["ann/colours"], reasons(home)["wild/copycat"]) == ("unreachable", "duplicate")


def test_when_the_original_goes_its_duplicate_takes_its_place(tmp_path: Path, hub: HubServer, folder: Path) -> None:
    run(tmp_path, hub)
    shutil.rmtree(folder / "ann/colours")
    home, _ = run(tmp_path, hub, sweep_days=0)
    assert reasons(home)["wild/copycat"] is None
