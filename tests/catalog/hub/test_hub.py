"""The hub's client against the mirror: what is asked, what comes back, what people are told."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from catalog.adapters.facts import RawAdapter, RepoListing
from catalog.adapters.parse import Problem
from catalog.errors import HubDown, HubError
from catalog.hub.client import COUNT, Hub, HubOptions
from flows.mirror.accounts import Account
from flows.mirror.server import HubServer, serve_in_thread
from tests.catalog.hub.hub_client import BASE, CONFIG, SHA, WEIGHTS, X, ask, assert_for_people, list_pages, listings


@pytest.fixture(scope="module")
def served(tiny_hub_folder: Path) -> Iterator[HubServer]:
    with serve_in_thread(tiny_hub_folder, tokens={"hf_good": Account("ann")}) as server:
        yield server


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def test_small_pages_list_the_same_as_a_large_one(served: HubServer, cache: Path) -> None:
    large = list(list_pages(ask(served.endpoint, cache)))
    small = list(list_pages(ask(served.endpoint, cache, page_size=4)))
    repos = [listing for page in small for listing in page.repos]
    assert len(large) == 1 and len(repos) > 12 and repos == list(large[0].repos)
    assert [len(page.repos) for page in small[:-1]] == [4] * (len(small) - 1)
    assert [page.next_url is None for page in small] == [False] * (len(small) - 1) + [True]


def test_a_listing_goes_on_from_a_page_address(served: HubServer, cache: Path) -> None:
    hub = ask(served.endpoint, cache, page_size=4)
    pages = list(list_pages(hub))
    before = served.counts.api
    rest = list(list_pages(hub, start=pages[1].next_url))
    assert rest == pages[2:]
    assert served.counts.api - before == len(pages) - 2


@pytest.mark.usefixtures("no_wait")
def test_a_page_address_of_another_hub_is_not_asked(served: HubServer, cache: Path) -> None:
    """A stored position must not carry the token to the host it names."""
    hub, before = ask("http://localhost:9", cache, token="hf_good"), served.counts.api
    with pytest.raises(HubDown, match="http://localhost:9 cannot be reached"):
        next(list_pages(hub, start=f"{served.endpoint}/api/models"))
    assert served.counts.api == before


def test_a_sound_adapter_costs_two_file_requests_and_no_weights(
    served: HubServer, cache: Path, tiny_hub_folder: Path
) -> None:
    hub = ask(served.endpoint, cache)
    listing = listings(hub)["ann/colours"]
    ours, theirs = (COUNT.file, COUNT.api), (served.counts.resolvers, served.counts.api)
    raw = hub.read_adapter(listing, listing.adapters()[0])
    assert (COUNT.file - ours[0], COUNT.api - ours[1]) == (2, 0)
    assert (served.counts.resolvers - theirs[0], served.counts.api - theirs[1]) == (2, 0)
    folder = tiny_hub_folder / "ann/colours"
    weights = (folder / WEIGHTS).read_bytes()
    length = int.from_bytes(weights[:8], "little")
    assert raw == RawAdapter((folder / CONFIG).read_text(), weights[8 : 8 + length].decode(), len(weights), raw.sha256)
    assert raw.sha256 is not None and len(raw.sha256) == 64


def test_an_adapter_without_weights_costs_one_request(served: HubServer, cache: Path) -> None:
    hub = ask(served.endpoint, cache)
    listing = listings(hub)["wild/config-only"]
    before = COUNT.file
    raw = hub.read_adapter(listing, listing.adapters()[0])
    assert (COUNT.file - before, raw.header, raw.problems) == (1, None, ())
    assert raw.config is not None


def test_weights_that_vanished_since_the_listing_are_a_problem_of_the_repo(served: HubServer, cache: Path) -> None:
    hub = ask(served.endpoint, cache)
    sha = listings(hub)["wild/config-only"].sha
    listing = RepoListing("wild/config-only", sha, (CONFIG, WEIGHTS))
    raw = hub.read_adapter(listing, listing.adapters()[0])
    assert raw.problems == (Problem("unreadable", f"{WEIGHTS}: the hub has no such file or revision"),)


@pytest.mark.parametrize(
    ("repo", "sha", "token", "problem"),
    [
        ("ann/gone", SHA, "hf_good", Problem("unreadable", f"{CONFIG}: the hub has no such repo for us")),
        ("ann/colours", "0" * 40, None, Problem("unreadable", f"{CONFIG}: the hub has no such file or revision")),
        (
            "ann/gone",
            SHA,
            None,
            Problem(
                "unreachable", f"{CONFIG}: the hub wants to know who asks (401): the repo is private, gated or gone"
            ),
        ),
    ],
    ids=["repo", "commit", "repo, asked without a token"],
)
def test_a_repo_or_commit_that_vanished_is_a_problem_of_the_repo(
    served: HubServer, cache: Path, repo: str, sha: str, token: str | None, problem: Problem
) -> None:
    listing = RepoListing(repo, sha, (CONFIG, WEIGHTS))
    raw = ask(served.endpoint, cache, token).read_adapter(listing, listing.adapters()[0])
    assert raw == RawAdapter(problems=(problem,))


@pytest.mark.parametrize(("repo", "reason"), [("wild/header-bomb", "bad_header"), ("wild/lfs-pointer", "lfs_pointer")])
def test_broken_weights_are_a_problem(served: HubServer, cache: Path, repo: str, reason: str) -> None:
    hub = ask(served.endpoint, cache)
    listing = listings(hub)[repo]
    raw = hub.read_adapter(listing, listing.adapters()[0])
    assert ([p.reason for p in raw.problems], raw.header) == ([reason], None)


def test_the_modules_of_a_base_come_from_its_header(served: HubServer, cache: Path) -> None:
    base = ask(served.endpoint, cache).read_base(BASE)
    assert (base.id, len(base.sha)) == (BASE, 40)
    assert base.modules["model.layers.1.self_attn.v_proj"] == (64, 32)
    assert base.modules["model.layers.0.mlp.down_proj"] == (96, 64)
    assert "model.norm" not in base.modules


def test_a_base_without_weights_is_refused(served: HubServer, cache: Path) -> None:
    with pytest.raises(HubError, match="wild/config-only has no safetensors weights") as caught:
        ask(served.endpoint, cache).read_base("wild/config-only")
    assert_for_people(caught.value)


def test_what_was_downloaded_is_never_asked_for_again(served: HubServer, cache: Path, tiny_hub_folder: Path) -> None:
    hub = ask(served.endpoint, cache)
    sha, names = hub.repo_files("ann/colours")
    folder = hub.download("ann/colours", [CONFIG, WEIGHTS], sha)
    before = (COUNT.file, COUNT.api, served.counts.api, served.counts.resolvers)
    again = ask(served.endpoint, cache).download("ann/colours", [CONFIG, WEIGHTS], sha)
    assert (COUNT.file, COUNT.api, served.counts.api, served.counts.resolvers) == before
    assert again == folder == hub.local("ann/colours", sha)
    assert {CONFIG, WEIGHTS} < set(names)
    assert (folder / WEIGHTS).read_bytes() == (tiny_hub_folder / "ann/colours" / WEIGHTS).read_bytes()


def test_who_we_are_is_the_name_behind_the_token(served: HubServer, cache: Path) -> None:
    assert ask(served.endpoint, cache, "hf_good").whoami() == "ann"
    assert ask(served.endpoint, cache).whoami() == "anonymous"


# Errors for people


@pytest.mark.parametrize(
    ("repo", "cause"),
    [
        ("ann/unknown", "ann/unknown is not on {hub}, or is private or gated."),
        ("ann/a--b", "ann/a--b is no repo id."),
        ("a/b/c", "a/b/c is no repo id."),
    ],
)
def test_an_unknown_repo_is_named(served: HubServer, cache: Path, repo: str, cause: str) -> None:
    with pytest.raises(HubError) as caught:
        ask(served.endpoint, cache).repo_files(repo)
    assert caught.value.cause == cause.format(hub=served.endpoint)
    assert_for_people(caught.value)


def test_an_unknown_revision_is_named(served: HubServer, cache: Path) -> None:
    with pytest.raises(HubError, match="no such file or revision") as caught:
        ask(served.endpoint, cache).repo_files(BASE, "v9")
    assert_for_people(caught.value)


@pytest.mark.parametrize(
    "act",
    [
        lambda hub: hub.whoami(),
        lambda hub: hub.repo_files(BASE),
        lambda hub: list(list_pages(hub)),
        lambda hub: hub.read_adapter(X, X.adapters()[0]),
        lambda hub: hub.download(BASE, ["config.json"], "main"),
    ],
    ids=["whoami", "repo_files", "list_adapters", "read_adapter", "download"],
)
def test_a_wrong_token_is_told_wherever_it_is_met(served: HubServer, cache: Path, act: Callable[[Hub], object]) -> None:
    with pytest.raises(HubError) as caught:
        act(ask(served.endpoint, cache, "hf_wrong"))
    assert caught.value.cause == f"{served.endpoint} refused the token."
    assert "LORAUTER_TOKEN" in caught.value.next_step and "hf_wrong" not in str(caught.value)


def test_a_token_is_not_shown() -> None:
    assert "hf_secret" not in repr(HubOptions("http://x", Path(), "hf_secret"))


@pytest.mark.parametrize(
    "act",
    [
        lambda hub: list(list_pages(hub)),
        lambda hub: hub.repo_files(BASE),
    ],
    ids=["list_adapters", "repo_files"],
)
@pytest.mark.usefixtures("no_wait")
def test_an_unreachable_endpoint_is_named(cache: Path, act: Callable[[Hub], object]) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{unused.getsockname()[1]}"
    with pytest.raises(HubError) as caught:
        act(ask(endpoint, cache))
    assert caught.value.cause == f"{endpoint} cannot be reached (ConnectError)."
    assert_for_people(caught.value)


@pytest.mark.parametrize("endpoint", ["localhost:1", "http://localhost:port", "ftp://localhost"])
@pytest.mark.usefixtures("no_wait")
def test_an_endpoint_that_is_no_address_is_an_error_for_people(cache: Path, endpoint: str) -> None:
    with pytest.raises(HubError) as caught:
        list(list_pages(ask(endpoint, cache)))
    assert_for_people(caught.value)
