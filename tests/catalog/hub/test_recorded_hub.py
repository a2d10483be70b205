"""The client against answers of the form that others recorded of the real Hub, and against those that abuse it."""

from __future__ import annotations

import gzip
import json
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from catalog.adapters.facts import RawAdapter, RepoListing
from catalog.errors import DiskError, HubDown, HubError, HubRefusal, HubTrouble
from catalog.hub import budget
from catalog.hub.client import Hub, HubOptions
from catalog.hub.target import Target
from tests.catalog.hub.hub_clock import time_flies_at
from tests.odd_server import Odd, reply

SHA = "a" * 40
CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
X = RepoListing("ann/x", SHA, (CONFIG, WEIGHTS))
TEXT = json.dumps({"r": 8, "target_modules": [f"layer_{n}" for n in range(200)]})
HEADER = b'{"a":{"dtype":"I8","shape":[4],"data_offsets":[0,4]}}'
FILE = len(HEADER).to_bytes(8, "little") + HEADER + bytes(4)
SHA256 = "e" * 64
EXPIRED = 'User Access Token "mine" is expired'


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def ask(endpoint: str, cache: Path, token: str | None = None, **options: float) -> Hub:
    return Hub(HubOptions(endpoint, cache, token, timeout=5, **options))  # type: ignore[arg-type]  # numbers all


def packed(
    request: BaseHTTPRequestHandler, body: bytes, *, end: bool = True, status: int = 200, **headers: str
) -> None:
    """The body as gzip in chunks, without a length; `end`: whether its last chunk closes it."""
    request.send_response(status)
    fields = {"Content-Encoding": "gzip", "Transfer-Encoding": "chunked", "ETag": 'W/"1"', "X-Repo-Commit": SHA}
    for name, value in (fields | {n.replace("_", "-"): v for n, v in headers.items()}).items():
        request.send_header(name, value)
    request.end_headers()
    if request.command == "HEAD":
        return
    for start in range(0, len(body), 1000):
        piece = body[start : start + 1000]
        request.wfile.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
    if end:
        request.wfile.write(b"0\r\n\r\n")
    else:
        request.close_connection = True


def texts_packed(request: BaseHTTPRequestHandler, number: int) -> None:
    """Text always packed, whatever was asked for; weights plain."""
    if request.path.endswith(WEIGHTS):
        return reply(request, 200, FILE, ETag='"2"', X_Repo_Commit=SHA)
    return packed(request, gzip.compress(TEXT.encode()))


# Text comes as gzip, in chunks, without a length


def test_a_text_without_a_length_is_read(cache: Path) -> None:
    with Odd(texts_packed) as odd:
        raw = ask(odd.endpoint, cache).read_adapter(X, X.adapters()[0])
    assert raw == RawAdapter(TEXT, HEADER.decode(), len(FILE), None)


def test_a_text_without_a_length_is_downloaded(cache: Path) -> None:
    with Odd(texts_packed) as odd:
        folder = ask(odd.endpoint, cache).download("ann/x", [CONFIG, WEIGHTS], SHA)
    assert ((folder / CONFIG).read_text(), (folder / WEIGHTS).read_bytes()) == (TEXT, FILE)


def test_a_packed_listing_is_read_and_asked_for_as_such(cache: Path) -> None:
    body = gzip.compress(b'[{"id": "a/b"}]')
    with Odd(lambda request, _: packed(request, body, Content_Type="application/json; charset=utf-8")) as odd:
        page = ask(odd.endpoint, cache).page(Target("base", "org/base"))
    assert [listing.repo for listing in page.repos] == ["a/b"]
    assert odd.asked[0][1]["accept-encoding"] == "gzip"


def test_a_download_asks_for_plain_bytes(cache: Path) -> None:
    def plain(request: BaseHTTPRequestHandler, number: int) -> None:
        reply(request, 200, TEXT.encode(), ETag='"1"', X_Repo_Commit=SHA)

    with Odd(plain) as odd:
        ask(odd.endpoint, cache).download("ann/x", [CONFIG], SHA)
    assert {headers["accept-encoding"] for _, headers in odd.asked} == {"identity"}


@pytest.mark.parametrize("end", [False, True], ids=["cut on the way", "cut, and closed as if whole"])
@pytest.mark.parametrize("act", ["read", "download"])
@pytest.mark.usefixtures("no_wait")
def test_a_packed_body_that_breaks_off_is_asked_for_again(cache: Path, act: str, end: bool) -> None:
    whole = gzip.compress(TEXT.encode(), 0)
    came = 0

    def first_cut(request: BaseHTTPRequestHandler, number: int) -> None:
        nonlocal came
        came += request.command == "GET"
        packed(request, whole if came > 1 else whole[: len(whole) // 2], end=end or came > 1)

    with Odd(first_cut) as odd:
        hub = ask(odd.endpoint, cache)
        if act == "read":
            text = hub.read_text("ann/x", CONFIG, SHA, 1 << 20)
        else:
            text = (hub.download("ann/x", [CONFIG], SHA) / CONFIG).read_text()
    assert (text, came) == (TEXT, 2)


def test_a_bomb_costs_one_request_and_no_more_than_its_bound(cache: Path) -> None:
    bomb = gzip.compress(bytes(64 << 20), 9)
    with Odd(lambda request, _: packed(request, bomb)) as odd:
        hub = ask(odd.endpoint, cache, max_bytes=1 << 20)
        with pytest.raises(HubError, match=r"the limit is 1,048,576"):
            hub.download("ann/x", [CONFIG], SHA)
        assert hub.read_text("ann/x", CONFIG, SHA, 1 << 16) is None  # too long
    assert len(odd.asked) == 3  # HEAD and GET, then one GET
    assert not [path for path in cache.rglob("*") if path.is_file() and path.stat().st_size > 1 << 16]


def test_a_body_that_hardly_packs_may_be_as_large_as_its_bound(cache: Path) -> None:
    """What came and what it was unpacked to are one body, not two."""
    body = bytes(range(256)) * 1_000
    with Odd(lambda request, _: packed(request, gzip.compress(body, 0))) as odd:
        folder = ask(odd.endpoint, cache, max_bytes=257_000).download("ann/x", [CONFIG], SHA)
    assert (folder / CONFIG).read_bytes() == body


@pytest.mark.parametrize("packing", ["br", "zstd", "deflate", "gzip, gzip"])
@pytest.mark.usefixtures("no_wait")
def test_a_packing_that_nobody_asked_for_is_trouble_on_the_way(cache: Path, packing: str) -> None:
    with Odd(lambda request, _: reply(request, 200, b"??", Content_Encoding=packing)) as odd:
        raw = ask(odd.endpoint, cache, attempts=2).read_adapter(X, X.adapters()[0])
    assert [problem.reason for problem in raw.problems] == ["unreachable"]
    assert len(odd.asked) == 2


# Redirects


def test_the_redirect_to_the_cached_text_is_followed_and_charged_to_no_window_of_ours(cache: Path) -> None:
    paid = 0

    def twice(request: BaseHTTPRequestHandler, number: int) -> None:
        nonlocal paid
        paid += "/resolve/" in request.path
        policy = '"fixed window";"resolvers";q=3000;w=300'
        told = {"RateLimit": f'"resolvers";r={3000 - paid};t=290', "RateLimit_Policy": policy}
        if "/resolve/" in request.path:
            at = f"/api/resolve-cache/models/ann/x/{SHA}/{CONFIG}?etag=1"
            return reply(request, 307, b"", Location=at, X_Repo_Commit=SHA, **told)
        return reply(request, 200, TEXT.encode(), ETag='"1"', X_Repo_Commit=SHA, **told)

    with Odd(twice) as odd:
        hub = ask(odd.endpoint, cache)
        text = hub.read_text("ann/x", CONFIG, SHA, 1 << 20)
        folder = hub.download("ann/x", [CONFIG], SHA)
        left = {kind: hub.transport.budget.left(kind) for kind in budget.KINDS}  # type: ignore[attr-defined]
    assert (text, (folder / CONFIG).read_text()) == (TEXT, TEXT)
    assert left == {"api": float("inf"), "resolvers": 2998}


def on_file_host(storage: Odd, **headers: str) -> Callable[[BaseHTTPRequestHandler, int], None]:
    """Answers of a hub whose weights lie on another host, offered by Xet too."""
    offered = {
        "X_Linked_Size": str(len(FILE)),
        "X_Linked_Etag": f'"{SHA256}"',
        "X_Xet_Hash": "f" * 64,
        "Link": f'</api/models/ann/x/xet-read-token/{SHA}>; rel="xet-auth"',
        "X_Repo_Commit": SHA,
    }

    def answer(request: BaseHTTPRequestHandler, number: int) -> None:
        if request.path.endswith(WEIGHTS):
            return reply(request, 302, b"", Location=f"{storage.endpoint}/blob", **(offered | headers))
        return reply(request, 200, TEXT.encode(), ETag='"1"', X_Repo_Commit=SHA)

    return answer


def test_a_file_offered_by_xet_comes_by_plain_http(cache: Path) -> None:
    with (
        Odd(lambda request, _: reply(request, 200, FILE, ETag='"cdn"')) as storage,
        Odd(on_file_host(storage)) as odd,
    ):
        folder = ask(odd.endpoint, cache, "hf_secret").download("ann/x", [WEIGHTS], SHA)
    assert (folder / WEIGHTS).read_bytes() == FILE
    assert [path for path, _ in odd.asked] == [f"/ann/x/resolve/{SHA}/{WEIGHTS}"]
    assert [(path, "authorization" in headers) for path, headers in storage.asked] == [("/blob", False)]


@pytest.mark.parametrize("size", [2_000, 60_000_000_000], ids=["over the bound", "over what the Hub gives"])
def test_a_file_that_is_too_large_costs_one_request(cache: Path, size: int) -> None:
    with (
        Odd(lambda request, _: reply(request, 200, FILE)) as storage,
        Odd(on_file_host(storage, X_Linked_Size=str(size))) as odd,
        pytest.raises(HubError) as caught,
    ):
        ask(odd.endpoint, cache, max_bytes=1_000 if size < 10_000 else 1 << 40).download("ann/x", [WEIGHTS], SHA)
    assert (len(odd.asked), len(storage.asked)) == (1, 0)
    told = "2,000 bytes or more, the limit is 1,000" if size < 10_000 else "60.0 GB; over plain HTTP"
    assert told in caught.value.cause and caught.value.cause.startswith(f"ann/x/{WEIGHTS}")


@pytest.mark.parametrize("status", [401, 403, 404, 500, 503])
@pytest.mark.parametrize("act", ["read", "download"])
@pytest.mark.usefixtures("no_wait")
def test_what_the_file_host_refuses_is_no_verdict_on_the_adapter(cache: Path, status: int, act: str) -> None:
    with (
        Odd(lambda request, _: reply(request, status, b"<Error><Code>AccessDenied</Code></Error>")) as storage,
        Odd(on_file_host(storage)) as odd,
    ):
        hub = ask(odd.endpoint, cache, "hf_secret", attempts=2)
        if act == "read":
            raw = hub.read_adapter(X, X.adapters()[0])
            assert [problem.reason for problem in raw.problems] == ["unreachable"]
        else:
            with pytest.raises(HubTrouble, match=f"the file host .* answered {status}"):
                hub.download("ann/x", [WEIGHTS], SHA)
    assert len(storage.asked) == 2


@pytest.mark.usefixtures("no_wait")
def test_a_file_host_that_is_down_is_not_the_hub(cache: Path) -> None:
    with Odd(lambda request, _: None) as storage:
        pass
    with Odd(on_file_host(storage)) as odd:
        raw = ask(odd.endpoint, cache, attempts=2).read_adapter(X, X.adapters()[0])
    assert [problem.reason for problem in raw.problems] == ["unreachable"]
    assert "the file host" in raw.problems[0].evidence


# A token that is refused is never a verdict


WORDINGS = [
    ("Invalid credentials in Authorization header", None),
    ("Invalid username or password.", None),
    ("Invalid username or password.", "RepoNotFound"),
    ("Access to model ann/x is restricted. Please log in.", "GatedRepo"),
    (EXPIRED, None),
    (EXPIRED, "RepoNotFound"),
]


@pytest.mark.parametrize(("said", "code"), WORDINGS)
@pytest.mark.parametrize(
    "act",
    [
        lambda hub: hub.whoami(),
        lambda hub: hub.look("ann/x"),
        lambda hub: hub.page(Target("base", "org/base")),
        lambda hub: hub.read_adapter(X, X.adapters()[0]),
        lambda hub: hub.download("ann/x", [CONFIG], SHA),
    ],
    ids=["whoami", "look", "page", "read", "download"],
)
def test_a_refused_token_stops_whoever_asks(
    cache: Path, act: Callable[[Hub], object], said: str, code: str | None
) -> None:
    def refuse(request: BaseHTTPRequestHandler, number: int) -> None:
        headers = {"X_Error_Message": said} | ({"X_Error_Code": code} if code else {})
        reply(request, 401, json.dumps({"error": said}).encode(), Content_Type="application/json", **headers)

    with Odd(refuse) as odd, pytest.raises(HubDown) as caught:
        act(ask(odd.endpoint, cache, "hf_secret"))
    expired = ": it has expired" if said == EXPIRED else ""
    assert caught.value.cause == f"{odd.endpoint} refused the token{expired}."
    assert "LORAUTER_TOKEN" in caught.value.next_step and "mine" not in str(caught.value)


@pytest.mark.parametrize(
    ("status", "headers", "kind"),
    [
        (401, {}, "unseen"),
        (404, {"X_Error_Code": "RepoNotFound"}, "missing"),
        (403, {"X_Error_Message": "Access to this resource is disabled."}, "disabled"),
        (200, {"body": '{"id": "ann/x", "disabled": true}'}, "disabled"),
        (410, {}, "gone"),
        (451, {}, "withheld"),
        (400, {}, "refused"),
    ],
)
def test_what_becomes_of_a_repo_is_told_by_its_kind(
    cache: Path, status: int, headers: dict[str, str], kind: str
) -> None:
    body = headers.pop("body", "").encode()
    with Odd(lambda request, _: reply(request, status, body, **headers)) as odd:
        found = ask(odd.endpoint, cache).look("ann/x")
    assert isinstance(found, HubRefusal) and found.kind == kind


# Time


def test_a_refusal_that_names_no_end_is_waited_out_in_minutes(cache: Path) -> None:
    """The page is a proxy's HTML, and the rate headers say there is room."""

    def once(request: BaseHTTPRequestHandler, number: int) -> None:
        if number == 1:
            room = {"RateLimit": '"resolvers";r=2000;t=100', "Content_Type": "text/html"}
            return reply(request, 429, b"<html>Too many requests</html>", **room)
        return reply(request, 200, TEXT.encode())

    told: list[tuple[str, float]] = []
    with Odd(once) as odd, time_flies_at(odd.endpoint) as clock:
        hub = ask(odd.endpoint, cache)
        hub.transport.budget.on_wait = lambda kind, seconds: told.append((kind, seconds))
        text = hub.read_text("ann/x", CONFIG, SHA, 1 << 20)
    assert (text, len(odd.asked)) == (TEXT, 2)
    assert (told, clock.waits) == ([("resolvers", 60.0)], [60.0])


def test_a_wait_for_the_window_does_not_eat_the_deadline(cache: Path) -> None:
    def once(request: BaseHTTPRequestHandler, number: int) -> None:
        if number == 1:
            return reply(request, 429, b"", Retry_After="1")
        return reply(request, 200, TEXT.encode())

    with Odd(once) as odd:
        text = ask(odd.endpoint, cache, deadline=0.5).read_text("ann/x", CONFIG, SHA, 1 << 20)
    assert (text, len(odd.asked)) == (TEXT, 2)


def test_a_download_that_drips_ends(cache: Path) -> None:
    def drip(request: BaseHTTPRequestHandler, number: int) -> None:
        request.send_response(200)
        for name, value in {"Content-Length": "100000", "ETag": '"1"', "X-Repo-Commit": SHA}.items():
            request.send_header(name, value)
        request.end_headers()
        if request.command == "GET":
            for _ in range(100):
                request.wfile.write(b"x")
                time.sleep(0.05)

    began = time.monotonic()
    with Odd(drip) as odd, pytest.raises(HubTrouble, match="drips"):
        ask(odd.endpoint, cache, deadline=0.5).download("ann/x", [WEIGHTS], SHA)
    assert time.monotonic() - began < 4
    assert len(odd.asked) == 2


def test_a_download_lasts_while_enough_of_it_comes(cache: Path) -> None:
    body = bytes(400_000)

    def slowly(request: BaseHTTPRequestHandler, number: int) -> None:
        request.send_response(200)
        for name, value in {"Content-Length": str(len(body)), "ETag": '"1"', "X-Repo-Commit": SHA}.items():
            request.send_header(name, value)
        request.end_headers()
        for start in range(0, len(body) if request.command == "GET" else 0, 40_000):
            request.wfile.write(body[start : start + 40_000])
            time.sleep(0.06)

    with Odd(slowly) as odd:
        folder = ask(odd.endpoint, cache, deadline=0.3).download("ann/x", [WEIGHTS], SHA)
    assert (folder / WEIGHTS).read_bytes() == body


def test_a_disk_without_room_is_no_fault_of_the_hub(cache: Path) -> None:
    cache.write_text("a file where the cache should be")
    with Odd(texts_packed) as odd, pytest.raises(DiskError):
        ask(odd.endpoint, cache).download("ann/x", [CONFIG], SHA)
