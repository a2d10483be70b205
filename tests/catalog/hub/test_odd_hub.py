"""The hub's client against servers that misbehave."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from catalog.adapters.facts import RawAdapter, RepoListing
from catalog.adapters.parse import CONFIG_LIMIT, Problem
from catalog.errors import HubError
from catalog.hub.client import HEAD_BYTES, Hub, model_files
from tests.catalog.hub.hub_client import (
    BASE,
    CONFIG,
    CONFIG_TEXT,
    FILE,
    HEADER,
    SHA,
    X,
    ask,
    assert_for_people,
    list_pages,
)
from tests.catalog.hub.hub_clock import time_flies_at
from tests.odd_server import Odd, reply


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


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
