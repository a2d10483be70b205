"""The crawl against the mirror: as few requests as will do, nothing lost, nothing in silence."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import catalog.hub.client
from catalog.errors import HubDown, HubError, SettingError
from catalog.hub.client import COUNT
from flows.cli.main import cli
from flows.crawl.listings import Crawled
from flows.home.home import Home
from flows.home.parts import ledger_of
from flows.home.settings import load_settings
from flows.mirror import faults
from flows.mirror.accounts import Account
from flows.mirror.faults import Faults
from flows.mirror.server import HubServer, serve_in_thread
from flows.stages import crawl
from tests.odd_server import Odd, reply

BASE = "tiny/llama"
NAMES = [f"ann/a{number:02d}" for number in range(10)]

pytestmark = pytest.mark.usefixtures("no_wait")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Ten adapters of one base, a00 the oldest; and one of its quantised twin."""
    root = tmp_path / "hub"
    for number, name in enumerate(NAMES):
        write_repo(root / name, BASE, day=number + 1)
    write_repo(root / "bob/other", "tiny/other", day=1)
    return root


@pytest.fixture
def hub(folder: Path) -> Iterator[HubServer]:
    with serve_in_thread(folder, tokens={"hf_ann": Account("ann")}) as server:
        yield server


def write_repo(folder: Path, base: str, day: int, **sidecar: Any) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": base, "day": day}))
    (folder / "README.md").write_text(f"---\nbase_model: {base}\nlibrary_name: peft\ntags: [medical]\n---\n")
    (folder / ".hub.json").write_text(json.dumps({"lastModified": f"2026-01-{day:02d}T00:00:00Z", **sidecar}))


def open_home(tmp_path: Path, hub: HubServer, page_size: int = 4, **settings: Any) -> Home:
    """A home whose hub turns small pages."""
    given = {"home": tmp_path / "home", "endpoint": hub.endpoint, "base": BASE, "page_size": page_size, **settings}
    return Home(load_settings(**given))


def repos(home: Home) -> dict[str, str | None]:
    """Every repo of the ledger: why it is gone, None while it is there."""
    return {row["repo"]: row["gone"] for row in ledger_of(home).current("repos")}


def requests(hub: HubServer) -> tuple[int, int]:
    return hub.counts.api, hub.counts.resolvers


def test_a_first_crawl_lists_every_page(tmp_path: Path, hub: HubServer) -> None:
    home = open_home(tmp_path, hub)
    done = crawl(home)
    assert (done, repos(home)) == (Crawled(10, 0, ()), dict.fromkeys(NAMES))


def test_an_unchanged_hub_costs_one_page_and_no_row(tmp_path: Path, hub: HubServer) -> None:
    crawl(open_home(tmp_path, hub))
    home = open_home(tmp_path, hub)
    before, rows = requests(hub), ledger_of(home).read("repos").num_rows
    crawl(home)
    assert (requests(hub)[0] - before[0], requests(hub)[1], rows) == (1, 0, ledger_of(home).read("repos").num_rows)


def test_a_changed_repo_is_all_that_is_written(tmp_path: Path, hub: HubServer, folder: Path) -> None:
    crawl(open_home(tmp_path, hub))
    write_repo(folder / NAMES[3], BASE, day=20)
    home = open_home(tmp_path, hub)
    rows = ledger_of(home).read("repos").num_rows
    crawl(home)
    new = ledger_of(home).read("repos").num_rows - rows
    days = {row["repo"]: row["last_modified"][:10] for row in ledger_of(home).current("repos")}
    assert (new, days[NAMES[3]]) == (1, "2026-01-20")


def test_a_page_that_fails_for_good_is_recorded_and_the_next_crawl_goes_on_there(
    tmp_path: Path, hub: HubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = open_home(tmp_path, hub, bases=("tiny/other",))
    hub.set_faults(Faults(deep_cursor=4))
    monkeypatch.setattr(faults, "SMALL_PAGE", 0)  # however small
    done = crawl(home)
    hub.set_faults(None)
    before = requests(hub)[0]
    again = crawl(open_home(tmp_path, hub, bases=("tiny/other",)))
    assert [key for key, _ in done.failed] == [f"base:{BASE}"]
    assert (done.listed, again.listed, again.failed) == (8 + 1, 2 + 1, ())
    assert requests(hub)[0] - before == 1 + 1, "the page that was missing, and one of the other base"
    assert repos(home) == dict.fromkeys([*NAMES, "bob/other"])


def test_a_deep_page_that_runs_out_of_time_is_turned_in_small_steps(
    tmp_path: Path, hub: HubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(faults, "SMALL_PAGE", 3)
    monkeypatch.setattr(catalog.hub.client, "SMALL_PAGE", 3)
    hub.set_faults(Faults(deep_cursor=3))
    done = crawl(open_home(tmp_path, hub))
    assert (done.listed, done.failed) == (10, ())


def test_a_sweep_tells_what_became_of_the_missing(tmp_path: Path, hub: HubServer, folder: Path) -> None:
    crawl(open_home(tmp_path, hub, token="hf_ann"))
    deleted, renamed, private, gated, untagged, *rest = NAMES
    shutil.rmtree(folder / deleted)
    (folder / renamed).rename(folder / "ann/new-name")
    write_repo(folder / "ann/new-name", BASE, day=2, formerly=[renamed])
    write_repo(folder / private, BASE, day=3, private=True)
    write_repo(folder / gated, BASE, day=4, gated=True)
    write_repo(folder / untagged, "tiny/other", day=5)
    home = open_home(tmp_path, hub)
    done = crawl(home, full=True)
    rows = {row["repo"]: (row["gone"], row["gone_to"]) for row in ledger_of(home).current("repos")}
    assert rows == {
        deleted: ("deleted or private", None),
        renamed: ("renamed", "ann/new-name"),
        private: ("deleted or private", None),
        gated: (None, None),
        untagged: ("left the listing", None),
        "ann/new-name": (None, None),
        **dict.fromkeys(rest, (None, None)),
    }
    assert done == Crawled(7, 4, ())
    assert {row["repo"]: row["gated"] for row in ledger_of(home).current("repos")}[gated]


def test_what_comes_back_is_there_again(tmp_path: Path, hub: HubServer, folder: Path) -> None:
    crawl(open_home(tmp_path, hub))
    (folder / NAMES[0]).rename(tmp_path / "aside")
    crawl(open_home(tmp_path, hub), full=True)
    (tmp_path / "aside").rename(folder / NAMES[0])
    home = open_home(tmp_path, hub)
    crawl(home, full=True)
    assert repos(home)[NAMES[0]] is None


def test_sweeps_have_a_schedule_of_their_own(tmp_path: Path, hub: HubServer) -> None:
    crawl(open_home(tmp_path, hub))
    home = open_home(tmp_path, hub, sweep_days=0)
    crawl(home)
    assert [row["kind"] for row in ledger_of(home).current("pages") if row["target"] == f"base:{BASE}"] == ["sweep"] * 8


def test_a_time_in_the_future_does_not_hide_what_changes(tmp_path: Path, hub: HubServer, folder: Path) -> None:
    write_repo(folder / "eve/late", BASE, day=1)
    (folder / "eve/late/.hub.json").write_text('{"lastModified": "2999-01-01T00:00:00Z"}')
    crawl(open_home(tmp_path, hub))
    write_repo(folder / NAMES[3], BASE, day=20)
    home = open_home(tmp_path, hub)
    crawl(home)
    days = {row["repo"]: row["last_modified"][:10] for row in ledger_of(home).current("repos")}
    assert days[NAMES[3]] == "2026-01-20"


@pytest.mark.parametrize(
    ("target", "found"), [("author:ann", NAMES), ("tag:medical", [*NAMES, "bob/other"]), ("repo:ann/a03", ["ann/a03"])]
)
def test_other_targets(tmp_path: Path, hub: HubServer, target: str, found: list[str]) -> None:
    home = open_home(tmp_path, hub, targets=(target,))
    crawl(home, with_bases=False)
    assert repos(home) == dict.fromkeys(found)


def test_a_single_repo_that_goes_leaves_a_tombstone(tmp_path: Path, hub: HubServer, folder: Path) -> None:
    named = {"targets": ("repo:ann/a03", "repo:ann/a04", "repo:ann/never")}
    crawl(open_home(tmp_path, hub, **named), with_bases=False)
    shutil.rmtree(folder / "ann/a03")
    (folder / "ann/a04").rename(folder / "bob/a04")
    write_repo(folder / "bob/a04", BASE, day=5, formerly=["ann/a04"])
    home = open_home(tmp_path, hub, **named)
    done = crawl(home, with_bases=False)
    assert repos(home) == {"ann/a03": "deleted or private", "ann/a04": "renamed", "bob/a04": None}
    assert done == Crawled(1, 2, ())


def test_a_twins_adapters_are_listed_with_those_of_its_base(tmp_path: Path, hub: HubServer, folder: Path) -> None:
    write_repo(folder / "dan/quantised", "unsloth/llama-bnb-4bit", day=6)
    home = open_home(tmp_path, hub)
    crawl(home)
    assert {row["repo"]: row["target"] for row in ledger_of(home).current("repos")}["dan/quantised"] == (
        "base:unsloth/llama-bnb-4bit"
    )


def test_a_hub_that_nobody_answers_at_ends_the_crawl(tmp_path: Path, hub: HubServer) -> None:
    home = open_home(tmp_path, hub, endpoint="http://127.0.0.1:9")
    with pytest.raises(HubDown, match="cannot be reached"):
        crawl(home)


def test_a_crawl_in_which_every_listing_fails_says_so(tmp_path: Path, hub: HubServer) -> None:
    hub.set_faults(Faults(unavailable=1.0))
    with pytest.raises(HubError, match="answered 503"):
        crawl(open_home(tmp_path, hub, targets=("author:ann",)), with_bases=False)


def test_requests_are_counted_as_the_hub_counts_them(tmp_path: Path, hub: HubServer) -> None:
    ours, theirs = (COUNT.api, COUNT.file), requests(hub)
    crawl(open_home(tmp_path, hub))
    assert (COUNT.api - ours[0], COUNT.file - ours[1]) == tuple(
        now - then for now, then in zip(requests(hub), theirs, strict=True)
    )


def test_the_command_reads_repo_ids_from_stdin_and_leaves_the_bases_out(tmp_path: Path, hub: HubServer) -> None:
    command = ["--home", str(tmp_path / "home"), "crawl", "--endpoint", hub.endpoint, "--repos", "-"]
    result = CliRunner().invoke(cli, command, input="ann/a03\n\n# a remark\nbob/other\n")
    home = open_home(tmp_path, hub)
    assert (result.exit_code, result.stdout) == (0, "2 repos listed.\n")
    assert repos(home) == {"ann/a03": None, "bob/other": None}


def test_a_repo_asked_for_that_the_hub_has_not_is_told(tmp_path: Path, hub: HubServer) -> None:
    command = ["--home", str(tmp_path / "home"), "crawl", "--endpoint", hub.endpoint, "--repos", "-"]
    result = CliRunner().invoke(cli, command, input="ann/a03\nann/none\n")
    assert (result.exit_code, result.stdout) == (0, "1 repos listed.\n")
    assert "repo:ann/none: ann/none is not on " in result.stderr


def test_the_command_takes_several_bases(tmp_path: Path, hub: HubServer) -> None:
    command = ["--home", str(tmp_path / "home"), "crawl", "--endpoint", hub.endpoint]
    result = CliRunner().invoke(cli, [*command, "--base", BASE, "--base", "tiny/other"])
    assert (result.exit_code, result.stdout) == (0, "11 repos listed.\n")


def test_a_target_that_is_none_is_told(tmp_path: Path, hub: HubServer) -> None:
    with pytest.raises(SettingError, match="'user:ann' is no target of a crawl"):
        crawl(open_home(tmp_path, hub, targets=("user:ann",)))


# Listings that lead nowhere


def page_of(request: BaseHTTPRequestHandler, names: list[str], then: str) -> None:
    items = [{"id": name, "sha": "a" * 40, "lastModified": "2026-01-01T00:00:00.000Z"} for name in names]
    link = f'<http://hub.example/api/models?cursor={then}>; rel="next"'
    reply(request, 200, json.dumps(items).encode(), Content_Type="application/json", Link=link)


def in_a_circle(request: BaseHTTPRequestHandler, number: int) -> None:
    page_of(request, ["ann/one"], "b" if "cursor=a" in request.path else "a")


def without_an_end(request: BaseHTTPRequestHandler, number: int) -> None:
    page_of(request, [], str(number))


def refused_at_its_second_page(request: BaseHTTPRequestHandler, number: int) -> None:
    if "cursor=" in request.path:
        return reply(request, 400, b'{"error":"bad cursor"}', Content_Type="application/json")
    return page_of(request, ["ann/one"], "a")


@pytest.mark.parametrize(
    ("answer", "asked"),
    [(in_a_circle, 21), (without_an_end, 20), (refused_at_its_second_page, 2)],
    ids=["circle", "endless", "refused"],
)
def test_a_listing_that_leads_nowhere_ends(
    tmp_path: Path, answer: Callable[[BaseHTTPRequestHandler, int], None], asked: int
) -> None:
    with Odd(answer) as odd:
        home = Home(load_settings(home=tmp_path / "home", endpoint=odd.endpoint, base=BASE, targets=("tag:x",)))
        with contextlib.suppress(HubError):
            crawl(home, with_bases=False)
        once = len(odd.asked)
        with contextlib.suppress(HubError):
            crawl(home, with_bases=False)
    assert (once, len(odd.asked) < 3 * asked) == (asked, True)


def test_what_a_hub_names_is_told_as_text(tmp_path: Path) -> None:
    def odd_link(request: BaseHTTPRequestHandler, number: int) -> None:
        item = {"id": "ann/one", "sha": "a" * 40, "lastModified": "2026-01-01T00:00:00.000Z"}
        reply(request, 200, json.dumps([item]).encode(), Link='<[/bold]>; rel="next"')

    with Odd(odd_link) as odd:
        home = Home(load_settings(home=tmp_path / "home", endpoint=odd.endpoint, base=BASE, targets=("tag:x",)))
        done = crawl(home, with_bases=False)
    assert (done.listed, [key for key, _ in done.failed]) == (1, ["tag:x"])
