"""A crawl against what the real Hub was recorded to do: tokens die, files are refused in bursts, repos are closed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from click.testing import CliRunner

from catalog.adapters.adapter import AdapterId
from catalog.errors import HubDown
from catalog.hub.client import COUNT
from flows.cli.main import cli
from flows.home.home import Home, open_home
from flows.home.parts import ledger_of
from flows.mirror.accounts import Account
from flows.mirror.faults import Faults
from flows.mirror.likeness import Likeness
from flows.mirror.server import HubServer, serve_in_thread
from flows.stages import crawl, validate
from flows.validate import reads as read_adapters
from tests.odd_server import Odd, reply

BASE = "tiny/llama"
SOUND = {"ann/colours", "bob/animals", "cleo/compass", "wild/checkpoints"}
TOKENS = {"hf_ann": Account("ann"), "hf_bob": Account("bob")}

pytestmark = pytest.mark.usefixtures("no_wait")


@pytest.fixture
def folder(tmp_path: Path, tiny_hub_folder: Path) -> Path:
    root = tmp_path / "hub"
    shutil.copytree(tiny_hub_folder, root, ignore=shutil.ignore_patterns("sentence-transformers"))
    return root


@pytest.fixture
def hub(folder: Path) -> Iterator[HubServer]:
    with serve_in_thread(folder, tokens=TOKENS) as server:
        yield server


def home_of(tmp_path: Path, hub: HubServer, **settings: Any) -> Home:
    return open_home(home=tmp_path / "home", endpoint=hub.endpoint, **{"base": BASE, **settings})


def reasons(home: Home) -> dict[str, str | None]:
    return {AdapterId.parse(row["adapter"]).repo: row["reason"] for row in ledger_of(home).current("verdicts")}


def admitted(home: Home) -> set[str]:
    return {repo for repo, reason in reasons(home).items() if reason is None}


def gone(home: Home) -> dict[str, str]:
    return {row["repo"]: row["gone"] for row in ledger_of(home).current("repos") if row["gone"]}


# Tokens that die


def test_a_token_that_expires_in_the_middle_stops_the_run_and_is_no_verdict(tmp_path: Path, hub: HubServer) -> None:
    crawl(home_of(tmp_path, hub, token="hf_ann"))
    hub.expire_tokens("hf_ann")
    command = ["--home", str(tmp_path / "home"), "validate", "--base", BASE, "--endpoint", hub.endpoint]
    result = CliRunner().invoke(cli, command, env={"LORAUTER_TOKEN": "hf_ann"})
    stopped = home_of(tmp_path, hub, token="hf_bob")
    before = (reasons(stopped), ledger_of(stopped).read("raw").num_rows)
    validate(stopped)
    assert isinstance(result.exception, HubDown)
    assert result.exception.cause == f"{hub.endpoint} refused the token: it has expired."
    assert "Set LORAUTER_TOKEN" in result.exception.next_step
    assert before == ({}, 0)
    assert admitted(home_of(tmp_path, hub)) == SOUND


@pytest.mark.parametrize("token", ["hf_ann", "hf_never"], ids=["expired", "unknown"])
def test_repos_asked_for_with_a_dead_token_are_not_buried(tmp_path: Path, hub: HubServer, token: str) -> None:
    named = {"targets": ("repo:ann/colours", "repo:bob/animals")}
    crawl(home_of(tmp_path, hub, **named), with_bases=False)
    hub.expire_tokens("hf_ann")
    with pytest.raises(HubDown, match="refused the token"):
        crawl(home_of(tmp_path, hub, token=token, **named), with_bases=False)
    assert gone(home_of(tmp_path, hub)) == {}


# Files that are refused for a while


def test_what_the_file_host_refused_is_read_again(tmp_path: Path, hub: HubServer) -> None:
    home = home_of(tmp_path, hub)
    crawl(home)
    hub.set_faults(Faults(forbidden=1.0))
    validate(home)
    refused = reasons(home)
    hub.set_faults(None)
    validate(home)
    assert {refused[repo] for repo in SOUND} == {"unreachable"}
    assert admitted(home) == SOUND
    assert "unreachable" not in reasons(home).values()


@pytest.mark.parametrize("error", ["RepositoryNotFoundError", "HfHubHTTPError", "GatedRepoError", "DisabledRepoError"])
def test_what_an_older_version_took_for_good_is_read_again(tmp_path: Path, hub: HubServer, error: str) -> None:
    home = home_of(tmp_path, hub)
    crawl(home)
    (row,) = (row for row in ledger_of(home).current("repos") if row["repo"] == "bob/animals")
    read = {"repo": "bob/animals", "path": "", "sha": row["sha"], "config": None, "header": None, "size": None}
    problem = {"reason": "unreadable", "evidence": f"adapter_config.json: {error}"}
    ledger_of(home).stamp("raw", [{**read, "sha256": None, "problems": [problem]}])
    validate(home_of(tmp_path, hub))
    assert admitted(home_of(tmp_path, hub)) == SOUND


def test_a_base_that_the_hub_would_not_name_is_asked_for_again(
    tmp_path: Path, hub: HubServer, folder: Path, write_adapter: Callable[..., None]
) -> None:
    """An anonymous 401 hides whether there is such a base; the next run may know."""
    write_adapter(folder / BASE, folder / "eve/lost", seed=7, rank=2, base_id="tiny/later")
    settings = {"targets": ("repo:eve/lost",)}
    crawl(home_of(tmp_path, hub, **settings), with_bases=False)
    validate(home_of(tmp_path, hub, **settings))
    before = reasons(home_of(tmp_path, hub))["eve/lost"]
    shutil.copytree(folder / BASE, folder / "tiny/later")
    validate(home_of(tmp_path, hub, **settings))
    assert (before, reasons(home_of(tmp_path, hub))["eve/lost"]) == ("base_unreadable", None)


def test_files_that_are_shown_to_nobody_unknown_do_not_end_the_run(
    tmp_path: Path, hub: HubServer, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An owner closes many repos between crawl and validation: 401s in a row are no hub in trouble."""
    monkeypatch.setattr(read_adapters, "GIVE_UP", 2)
    crawl(home_of(tmp_path, hub))
    for repo in ("ann/colours", "bob/animals", "cleo/compass"):
        (folder / repo / ".hub.json").write_text(json.dumps({"private": True}))
    validate(home_of(tmp_path, hub, readers=1))
    assert admitted(home_of(tmp_path, hub)) == {"wild/checkpoints", "wild/copycat"}  # of what is closed now


def test_a_base_that_is_missing_for_a_good_token_is_settled(
    tmp_path: Path, hub: HubServer, folder: Path, write_adapter: Callable[..., None]
) -> None:
    """Many adapters name bases that are gone; each would cost an API call a run, of 1,000 in five minutes."""
    write_adapter(folder / BASE, folder / "eve/lost", seed=7, rank=2, base_id="tiny/later")
    settings = {"targets": ("repo:eve/lost",), "token": "hf_ann"}
    crawl(home_of(tmp_path, hub, **settings), with_bases=False)
    validate(home_of(tmp_path, hub, **settings))
    before = (COUNT.api, COUNT.file)
    validate(home_of(tmp_path, hub, **settings))
    assert (COUNT.api, COUNT.file) == before
    assert reasons(home_of(tmp_path, hub))["eve/lost"] == "base_unreadable"


# Repos that are closed


@pytest.mark.parametrize(
    ("sidecar", "reason", "buried"),
    [
        ({"disabled": True}, "disabled", "disabled by the hub"),
        ({"legal": True}, "withheld", "withheld for legal reasons"),
        ({"gone": True}, "gone", "gone for good"),
    ],
)
def test_a_repo_that_is_closed_is_that_repos_fact(
    tmp_path: Path, hub: HubServer, folder: Path, sidecar: dict[str, bool], reason: str, buried: str
) -> None:
    home = home_of(tmp_path, hub, targets=("repo:ann/colours", "repo:bob/animals"))
    crawl(home, with_bases=False)
    (folder / "ann/colours/.hub.json").write_text(json.dumps(sidecar))
    validate(home)
    crawl(home_of(tmp_path, hub, targets=("repo:ann/colours", "repo:bob/animals")), with_bases=False)
    assert reasons(home) == {"ann/colours": reason, "bob/animals": None}
    assert gone(home_of(tmp_path, hub)) == {"ann/colours": buried}


def entry(repo: str) -> dict[str, Any]:
    return {
        "id": repo,
        "sha": "a" * 40,
        "tags": ["peft", f"base_model:adapter:{BASE}"],
        "siblings": [{"rfilename": "adapter_config.json"}],
        "lastModified": "2026-01-01T00:00:00.000Z",
    }


def is_about_the_base(address: str) -> bool:
    """Whether a listing is asked for the base itself, and not for its twins."""
    return f"base_model:adapter:{BASE}" in parse_qs(urlsplit(address).query).get("filter", [])


def test_a_sweep_goes_on_past_a_repo_that_the_hub_says_nothing_of(tmp_path: Path) -> None:
    listed = ["ann/a", "ann/b", "ann/c", "ann/d"]

    def answer(request: BaseHTTPRequestHandler, number: int) -> None:
        path = urlsplit(request.path).path
        if path == "/api/models":
            repos = listed if is_about_the_base(request.path) else []
            return reply(request, 200, json.dumps([entry(repo) for repo in repos]).encode())
        said = {"/api/models/ann/a": 400, "/api/models/ann/b": 500}
        return reply(request, said.get(path, 404), X_Error_Code="RepoNotFound" if path not in said else "")

    with Odd(answer) as odd:
        settings = {"home": tmp_path / "home", "endpoint": odd.endpoint, "base": BASE}
        crawl(open_home(**settings))
        listed[:] = ["ann/d"]
        done = crawl(open_home(**settings), full=True)
        rest = len(odd.asked)
        again = crawl(open_home(**settings))
    assert gone(open_home(**settings)) == {"ann/c": "deleted or private"}
    assert ([key for key, _ in done.failed], done.gone) == (["repo:ann/a", "repo:ann/b"], 1)
    assert (again.failed, len(odd.asked) - rest) == ((), 1), "the sweep has ended; the next crawl is a page"


# Listings that lead elsewhere


def test_a_listing_whose_pages_name_the_public_host_is_turned_on_our_own(tmp_path: Path, folder: Path) -> None:
    with serve_in_thread(folder, likeness=Likeness(public_name="https://hub.example")) as hub:
        done = crawl(home_of(tmp_path, hub, page_size=5))
    assert (done.listed, done.failed) == (26, ())


def test_what_was_listed_before_a_broken_page_is_kept(tmp_path: Path) -> None:
    broken = True

    def answer(request: BaseHTTPRequestHandler, number: int) -> None:
        if "cursor=2" in request.path:
            return reply(request, 200, json.dumps([entry("ann/b")]).encode())
        if not is_about_the_base(request.path):
            return reply(request, 200, b"[]")
        link = "<http://[>" if broken else "</api/models?cursor=2>"
        return reply(request, 200, json.dumps([entry("ann/a")]).encode(), Link=f'{link}; rel="next"')

    with Odd(answer) as odd:
        settings = {"home": tmp_path / "home", "endpoint": odd.endpoint, "base": BASE}
        first = crawl(open_home(**settings))
        kept = [row["repo"] for row in ledger_of(open_home(**settings)).current("repos")]
        broken = False
        crawl(open_home(**settings))
        later = sorted(row["repo"] for row in ledger_of(open_home(**settings)).current("repos"))
    assert ([key for key, _ in first.failed], kept) == ([f"base:{BASE}"], ["ann/a"])
    assert later == ["ann/a", "ann/b"]
