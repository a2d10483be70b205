"""The hub's client against the mirror, and against servers that misbehave."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from catalog.adapters.facts import RawAdapter, RepoListing
from catalog.adapters.parse import CONFIG_LIMIT, Problem
from catalog.errors import HubDown, HubError, LorauterError
from catalog.hub.client import COUNT, HEAD_BYTES, Hub, HubOptions, Page, model_files
from catalog.hub.target import Target
from flows.mirror.accounts import Account
from flows.mirror.server import HubServer, serve_in_thread
from tests.hub_clock import time_flies_at
from tests.odd_server import Odd, reply

BASE = "tiny/llama"
SHA = "a" * 40
CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
X = RepoListing("ann/x", SHA, (CONFIG, WEIGHTS))
CONFIG_TEXT = '{"r": 1}'
HEADER = b'{"a":{"dtype":"I8","shape":[4],"data_offsets":[0,4]}}'
FILE = len(HEADER).to_bytes(8, "little") + HEADER + bytes(4)


@pytest.fixture(scope="module")
def served(tiny_hub_folder: Path) -> Iterator[HubServer]:
    with serve_in_thread(tiny_hub_folder, tokens={"hf_good": Account("ann")}) as server:
        yield server


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def ask(endpoint: str, cache: Path, token: str | None = None, page_size: int = 500) -> Hub:
    return Hub(HubOptions(endpoint, cache, token, page_size=page_size, timeout=5))


def list_pages(hub: Hub, start: str | None = None) -> Iterator[Page]:
    position = start
    while True:
        page = hub.page(Target("base", BASE), position)
        yield page
        if page.next_url is None:
            return
        position = page.next_url


def listings(hub: Hub) -> dict[str, RepoListing]:
    return {listing.repo: listing for page in list_pages(hub) for listing in page.repos}


def assert_for_people(error: LorauterError) -> None:
    assert error.cause and error.next_step and "\n" not in str(error)


# Against the mirror


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


# Against servers that misbehave


def give_adapter(request: BaseHTTPRequestHandler, number: int) -> None:
    reply(request, 200, CONFIG_TEXT.encode() if request.path.endswith(CONFIG) else FILE)


SOUND = RawAdapter(CONFIG_TEXT, HEADER.decode(), len(FILE), None)


@pytest.mark.parametrize("body", [b"<html>Welcome</html>", b'{"error": 1}', b"[" * 100_000])
@pytest.mark.parametrize(
    "act", [lambda hub: list(list_pages(hub)), lambda hub: hub.repo_files(BASE)], ids=["list", "repo"]
)
def test_an_endpoint_that_is_no_hub_is_told(cache: Path, body: bytes, act: Callable[[Hub], object]) -> None:
    with (
        Odd(lambda request, _: reply(request, 200, body, Content_Type="text/html")) as odd,
        pytest.raises(HubError) as caught,
    ):
        act(ask(odd.endpoint, cache))
    assert caught.value.next_step.endswith("a Hugging Face hub.")
    assert_for_people(caught.value)


def test_a_hub_that_names_a_path_for_a_commit_is_not_believed(cache: Path) -> None:
    body = json.dumps({"id": BASE, "sha": "../../x", "siblings": []}).encode()
    with Odd(lambda request, _: reply(request, 200, body)) as odd, pytest.raises(HubError, match="named no commit"):
        ask(odd.endpoint, cache).repo_files(BASE)


@pytest.mark.parametrize("host", ["https://hub.example", "//hub.example", "", "http://["])
def test_a_next_page_is_asked_of_our_own_endpoint_whoever_it_names(cache: Path, host: str) -> None:
    """A mirror may name the public host; the token goes nowhere else."""

    def two_pages(request: BaseHTTPRequestHandler, number: int) -> None:
        body, link = json.dumps([{"id": f"a/{number}"}]).encode(), f'<{host}/api/models?cursor=1>; rel="next"'
        reply(request, 200, body, **({"Link": link} if number == 1 else {}))

    with Odd(two_pages) as odd:
        pages = list(list_pages(ask(odd.endpoint, cache, "hf_secret")))
    assert [listing.repo for page in pages for listing in page.repos] == [
        "a/1",
        *(["a/2"] if host != "http://[" else []),
    ]
    assert [path for path, _ in odd.asked[1:]] == (["/api/models?cursor=1"] if host != "http://[" else [])
    assert (pages[0].broken is None) == (host != "http://[")


def test_a_page_that_names_itself_as_the_next_is_kept_and_ends_the_listing(cache: Path) -> None:
    body = b'[{"id": "a/b"}]'
    with Odd(lambda request, _: reply(request, 200, body, Link='</api/models?cursor=1>; rel="next"')) as odd:
        *_, last = list_pages(ask(odd.endpoint, cache))
    assert len(odd.asked) == 2
    assert last.broken is not None and "names itself" in last.broken.cause
    assert [listing.repo for listing in last.repos] == ["a/b"]


def test_entries_that_are_no_repos_are_left_out(cache: Path) -> None:
    with Odd(lambda request, _: reply(request, 200, b'[1, null, {"id": "a/b"}, [2]]')) as odd:
        pages = list(list_pages(ask(odd.endpoint, cache)))
    assert [listing.repo for page in pages for listing in page.repos] == ["a/b"]


def test_a_redirect_to_other_storage_carries_no_token(cache: Path) -> None:
    with Odd(give_adapter) as storage:

        def redirect(request: BaseHTTPRequestHandler, number: int) -> None:
            if request.path.endswith(CONFIG):
                return give_adapter(request, number)
            linked = {"X_Linked_Size": str(len(FILE)), "X_Linked_Etag": f'"{"e" * 64}"'}
            return reply(request, 302, b"", Location=f"{storage.endpoint}/blob", **linked)

        with Odd(redirect) as odd:
            raw = ask(odd.endpoint, cache, "hf_secret").read_adapter(X, X.adapters()[0])
    assert raw == RawAdapter(CONFIG_TEXT, HEADER.decode(), len(FILE), "e" * 64)
    assert [headers["authorization"] for _, headers in odd.asked] == ["Bearer hf_secret"] * 2
    assert [(path, "authorization" in headers) for path, headers in storage.asked] == [("/blob", False)]


def test_retry_after_is_waited_for(cache: Path) -> None:
    def once_too_many(request: BaseHTTPRequestHandler, number: int) -> None:
        if number == 1:
            return reply(request, 429, b"slow down", Retry_After="70")
        return give_adapter(request, number)

    with Odd(once_too_many) as odd, time_flies_at(odd.endpoint) as clock:
        raw = ask(odd.endpoint, cache).read_adapter(X, X.adapters()[0])
    assert (raw, len(odd.asked), clock.waits) == (SOUND, 3, [70.0])


def test_the_reset_of_a_spent_window_is_waited_for_where_no_retry_after_comes(cache: Path) -> None:
    def once_too_many(request: BaseHTTPRequestHandler, number: int) -> None:
        if number == 1:
            return reply(request, 429, b"", RateLimit='"resolvers";r=0;t=200')
        return give_adapter(request, number)

    with Odd(once_too_many) as odd, time_flies_at(odd.endpoint) as clock:
        raw = ask(odd.endpoint, cache).read_adapter(X, X.adapters()[0])
    assert (raw, len(odd.asked), clock.waits) == (SOUND, 3, [200.0])


def cut_short(request: BaseHTTPRequestHandler) -> None:
    request.send_response(200)
    request.send_header("Content-Length", "1000")
    request.end_headers()
    request.wfile.write(b"{")
    request.close_connection = True


@pytest.mark.parametrize(
    "fault",
    [
        *(lambda request, status=status: reply(request, status) for status in (408, 500, 502, 503, 504)),
        cut_short,
        lambda request: request.connection.shutdown(socket.SHUT_RDWR),
    ],
    ids=["408", "500", "502", "503", "504", "cut body", "no answer"],
)
@pytest.mark.usefixtures("no_wait")
def test_a_fault_that_passes_is_survived(cache: Path, fault: Callable[[BaseHTTPRequestHandler], None]) -> None:
    with Odd(lambda request, number: fault(request) if number in (1, 3) else give_adapter(request, number)) as odd:
        raw = ask(odd.endpoint, cache).read_adapter(X, X.adapters()[0])
    assert (raw, len(odd.asked)) == (SOUND, 4)


@pytest.mark.usefixtures("no_wait")
def test_a_fault_that_stays_at_one_file_is_noted_for_another_try(cache: Path) -> None:
    with Odd(lambda request, _: reply(request, 503)) as odd:
        raw = ask(odd.endpoint, cache).read_adapter(X, X.adapters()[0])
    assert len(odd.asked) == 5
    assert [problem.reason for problem in raw.problems] == ["unreachable"]
    assert raw.problems[0].evidence.endswith("the hub answered 503.")


@pytest.mark.usefixtures("no_wait")
def test_a_fault_that_stays_at_a_listing_is_told_after_all_attempts(cache: Path) -> None:
    """All of them with a small page too: deep in a listing that helps."""
    with Odd(lambda request, _: reply(request, 503)) as odd, pytest.raises(HubError) as caught:
        list(list_pages(ask(odd.endpoint, cache)))
    assert [path.rpartition("limit=")[2][:3] for path, _ in odd.asked] == ["500"] * 5 + ["100"] * 5
    assert caught.value.cause.endswith("the hub answered 503.")
    assert_for_people(caught.value)


@pytest.mark.usefixtures("no_wait")
def test_a_download_survives_a_fault_too(cache: Path) -> None:
    def give(request: BaseHTTPRequestHandler, number: int) -> None:
        if number == 1:
            return reply(request, 500)
        return reply(request, 200, CONFIG_TEXT.encode(), ETag='"1"', X_Repo_Commit=SHA)

    with Odd(give) as odd:
        folder = ask(odd.endpoint, cache).download("ann/x", [CONFIG], SHA)
    assert ((folder / CONFIG).read_text(), len(odd.asked)) == (CONFIG_TEXT, 3)  # HEAD twice, GET once


@pytest.mark.parametrize(
    ("status", "headers", "reason"),
    [
        (400, {}, "unreadable"),
        (404, {}, "unreadable"),
        (403, {"X_Error_Code": "GatedRepo"}, "unreadable"),
        (403, {"X_Error_Message": "Access to this resource is disabled."}, "disabled"),
        (410, {}, "gone"),
        (451, {}, "withheld"),
        (403, {}, "unreachable"),  # a gateway's
        (401, {}, "unreachable"),
        (401, {"X_Error_Code": "GatedRepo"}, "unreachable"),
    ],
)
def test_a_file_that_is_refused_is_a_problem_of_its_repo(
    cache: Path, status: int, headers: dict[str, str], reason: str
) -> None:
    with Odd(lambda request, _: reply(request, status, **headers)) as odd:
        raw = ask(odd.endpoint, cache).read_adapter(X, X.adapters()[0])
    assert [problem.reason for problem in raw.problems] == [reason]
    assert len(odd.asked) == 1


def test_a_body_longer_than_asked_for_is_cut(cache: Path) -> None:
    """The server ignores the range and sends 8 MiB: no more than the limit is kept."""

    def flood(request: BaseHTTPRequestHandler, number: int) -> None:
        reply(request, 200, b'"' + b"x" * (8 << 20))

    with Odd(flood) as odd:
        raw = ask(odd.endpoint, cache).read_adapter(RepoListing("ann/x", SHA, (CONFIG,)), X.adapters()[0])
    assert raw.config is not None and len(raw.config) == CONFIG_LIMIT + 1


def test_reads_ask_for_a_range_of_plain_bytes(cache: Path) -> None:
    with Odd(give_adapter) as odd:
        ask(odd.endpoint, cache).read_adapter(X, X.adapters()[0])
    asked = [(headers["range"], headers["accept-encoding"]) for _, headers in odd.asked]
    assert asked == [(f"bytes=0-{CONFIG_LIMIT}", "identity"), (f"bytes=0-{HEAD_BYTES - 1}", "identity")]


def test_a_header_longer_than_the_first_read_takes_one_more(cache: Path) -> None:
    header = HEADER + b" " * HEAD_BYTES
    whole = len(header).to_bytes(8, "little") + header + bytes(4)

    def ranged(request: BaseHTTPRequestHandler, number: int) -> None:
        if request.path.endswith(CONFIG):
            return give_adapter(request, number)
        last = int(request.headers["Range"].rpartition("-")[2])
        part = whole[: last + 1]
        return reply(request, 206, part, Content_Range=f"bytes 0-{len(part) - 1}/{len(whole)}")

    with Odd(ranged) as odd:
        raw = ask(odd.endpoint, cache).read_adapter(X, X.adapters()[0])
    assert raw == RawAdapter(CONFIG_TEXT, header.decode(), len(whole), None)
    assert len(odd.asked) == 3


def test_an_empty_file_is_truncated(cache: Path) -> None:
    def empty(request: BaseHTTPRequestHandler, number: int) -> None:
        if request.path.endswith(CONFIG):
            return give_adapter(request, number)
        return reply(request, 416, b"", Content_Range="bytes */0")

    with Odd(empty) as odd:
        raw = ask(odd.endpoint, cache).read_adapter(X, X.adapters()[0])
    evidence = "the file has 0 bytes, a safetensors file has at least 8"
    assert raw == RawAdapter(CONFIG_TEXT, None, 0, None, (Problem("truncated", evidence),))


def test_a_repo_id_that_the_client_refuses_is_a_problem_and_costs_nothing(cache: Path) -> None:
    listing = RepoListing("ann/a--b", SHA, (CONFIG,))
    with Odd(give_adapter) as odd:
        raw = ask(odd.endpoint, cache).read_adapter(listing, listing.adapters()[0])
    assert raw == RawAdapter(problems=(Problem("unreadable", "'ann/a--b' is no repo id"),))
    assert odd.asked == []


def test_the_files_of_a_model_are_weights_and_texts() -> None:
    names = ["model.safetensors", "pytorch_model.bin", "config.json", ".gitattributes", "onnx/config.json", "vocab.txt"]
    assert model_files(names) == ["config.json", "model.safetensors", "vocab.txt"]
