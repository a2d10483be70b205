"""Answers that no hub should give: what they cost, and that none becomes a verdict or a file where none should be."""

from __future__ import annotations

import contextlib
import json
import socket
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import httpx2
import pytest

from catalog.adapters.facts import RepoListing
from catalog.errors import HubError, HubTrouble
from catalog.hub import transport
from catalog.hub.client import Hub, HubOptions
from catalog.hub.errors import origin
from catalog.hub.session import spent_by, window_of
from catalog.hub.target import Target
from tests.catalog.hub.hub_clock import time_flies_at
from tests.odd_server import Odd, reply

SHA = "a" * 40
CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
X = RepoListing("ann/x", SHA, (CONFIG, WEIGHTS))
TEXT = json.dumps({"r": 8}).encode()
HEADER = b'{"a":{"dtype":"I8","shape":[4],"data_offsets":[0,4]}}'
FILE = len(HEADER).to_bytes(8, "little") + HEADER + bytes(4)
Answer = Callable[[BaseHTTPRequestHandler, int], None]

pytestmark = pytest.mark.usefixtures("no_wait")


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def ask(endpoint: str, cache: Path, token: str | None = None) -> Hub:
    return Hub(HubOptions(endpoint, cache, token, timeout=5))


def always(status: int, body: bytes = b"", **headers: str) -> Answer:
    return lambda request, _: reply(request, status, body, **headers)


def weights_so(status: int, body: bytes = b"", **headers: str) -> Answer:
    """The config as it should be, the weights like this."""

    def answer(request: BaseHTTPRequestHandler, number: int) -> None:
        if request.path.endswith(CONFIG):
            return reply(request, 200, TEXT)
        return reply(request, status, body, **headers)

    return answer


def reasons(answer: Answer, cache: Path) -> list[str]:
    with Odd(answer) as odd, time_flies_at(odd.endpoint):
        raw = ask(odd.endpoint, cache).read_adapter(X, X.adapters()[0])
    return [problem.reason for problem in raw.problems]


# What is written to the disk


@pytest.mark.parametrize("form", ['"{}"', 'W/"{}"', "{}"])
@pytest.mark.parametrize("up", ["../../../../stolen", "{outside}/stolen", ".."], ids=["up", "absolute", "dots"])
def test_a_version_that_is_a_path_writes_no_file(tmp_path: Path, cache: Path, form: str, up: str) -> None:
    """The client makes a file's name of an ETag."""
    outside = tmp_path / "a/b"
    outside.mkdir(parents=True)
    etag = form.format(up.format(outside=outside))
    with Odd(always(200, b"evil", ETag=etag, X_Repo_Commit=SHA)) as odd, pytest.raises(HubError, match="names a path"):
        ask(odd.endpoint, outside / "cache").download("ann/x", [CONFIG], SHA)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_file_of_another_commit_than_asked_for_is_not_handed_out(cache: Path) -> None:
    with Odd(always(200, TEXT, ETag='"1"', X_Repo_Commit="b" * 40)) as odd, pytest.raises(HubError, match="commit"):
        ask(odd.endpoint, cache).download("ann/x", [CONFIG], SHA)


@pytest.mark.parametrize("status", [202, 204, 302, 304])
def test_an_answer_without_a_file_is_not_kept_as_an_empty_one(cache: Path, status: int) -> None:
    with Odd(always(status, ETag='"1"', X_Repo_Commit=SHA)) as odd, pytest.raises(HubTrouble, match="brings nothing"):
        ask(odd.endpoint, cache).download("ann/x", [CONFIG], SHA)
    assert len(odd.asked) == 5


@pytest.mark.parametrize("status", [500, 503, 520])
def test_a_download_that_fails_is_asked_for_no_more_often_than_a_read(cache: Path, status: int) -> None:
    """The client would try each of our five tries seven times, and sleep between."""
    with Odd(always(status)) as odd, pytest.raises(HubTrouble, match=str(status)):
        ask(odd.endpoint, cache).download("ann/x", [CONFIG], SHA)
    assert len(odd.asked) == 5


def test_a_download_that_comes_short_is_told_in_one_line(cache: Path) -> None:
    def short(request: BaseHTTPRequestHandler, number: int) -> None:
        reply(request, 200, TEXT if request.command == "HEAD" else TEXT[:4], ETag='"1"', X_Repo_Commit=SHA)

    with Odd(short) as odd, pytest.raises(HubTrouble) as raised:
        ask(odd.endpoint, cache).download("ann/x", [CONFIG], SHA)
    assert "\n" not in str(raised.value)


def test_a_packed_body_that_swells_to_nothing_is_bounded_by_what_comes(cache: Path) -> None:
    """The file name in a gzip head has no end here, so nothing is ever unpacked."""
    sent = 0

    def endless(request: BaseHTTPRequestHandler, number: int) -> None:
        nonlocal sent
        request.send_response(200)
        request.send_header("Content-Encoding", "gzip")
        request.end_headers()
        request.close_connection = True
        request.wfile.write(b"\x1f\x8b\x08\x08" + bytes(6))
        with contextlib.suppress(OSError):
            while sent < 200 << 20:
                request.wfile.write(b"a" * (1 << 20))
                sent += 1 << 20

    with Odd(endless) as odd, pytest.raises(HubError, match="the limit is"):
        ask(odd.endpoint, cache).transport.get(odd.endpoint, 1 << 20)
    assert (len(odd.asked), sent < 50 << 20) == (1, True)


@pytest.mark.parametrize("body", [b"[]", b"{}", b"null"])
def test_a_token_that_a_hub_has_no_name_for_is_told(cache: Path, body: bytes) -> None:
    with Odd(always(200, body, Content_Type="application/json")) as odd, pytest.raises(HubError, match="no hub's"):
        ask(odd.endpoint, cache, "hf_x").whoami()


@pytest.mark.parametrize("act", ["whoami", "download"])
def test_a_host_that_takes_no_connection_is_given_up_in_time(cache: Path, act: str) -> None:
    with socket.socket() as full, contextlib.ExitStack() as others:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for _ in range(3):  # nobody takes them from the queue, so it has no room
            other = others.enter_context(socket.socket())
            other.setblocking(False)
            other.connect_ex(full.getsockname())
        hub = Hub(HubOptions(f"http://127.0.0.1:{full.getsockname()[1]}", cache, "hf_x", timeout=0.1, deadline=0.2))
        began = time.monotonic()
        with pytest.raises(HubError):
            hub.whoami() if act == "whoami" else hub.download("ann/x", [CONFIG], SHA)
    assert time.monotonic() - began < 5


# What becomes a verdict


@pytest.mark.parametrize("status", [202, 204, 300, 302, 304])
def test_an_answer_without_a_body_is_no_empty_config(cache: Path, status: int) -> None:
    assert reasons(always(status), cache) == ["unreachable"]


@pytest.mark.parametrize(
    "piece", ["bytes 100-149/65", "bytes 1-64/65", "", f"bytes 0-9/{'9' * 5000}"], ids=["far", "near", "none", "digits"]
)
def test_a_piece_that_begins_elsewhere_is_no_broken_header(cache: Path, piece: str) -> None:
    told = {"Content_Range": piece} if piece else {}
    assert reasons(weights_so(206, FILE, **told), cache) == ["unreachable"]


def test_a_range_past_the_end_of_a_file_that_has_bytes_is_no_empty_file(cache: Path) -> None:
    assert reasons(always(416, Content_Range="bytes */2307"), cache) == ["unreachable"]


@pytest.mark.parametrize("status", [402, 407, 409, 421, 423, 425, 429, 431, 501, 505, 507, 520, 522, 524, 530])
def test_a_gateways_refusal_is_no_verdict(cache: Path, status: int) -> None:
    assert reasons(always(status), cache) == ["unreachable"]


@pytest.mark.parametrize("location", ["file:///etc/passwd", "ftp://a/b", "/loop", f"http://{'a' * 300}/x", "//"])
def test_a_redirect_to_nowhere_is_that_files_trouble_alone(cache: Path, location: str) -> None:
    assert reasons(always(302, Location=location), cache) == ["unreachable"]


def test_a_size_of_very_many_digits_is_no_size(cache: Path) -> None:
    with Odd(weights_so(200, FILE, X_Linked_Size="9" * 5000)) as odd:
        raw = ask(odd.endpoint, cache).read_adapter(X, X.adapters()[0])
    assert (raw.size, raw.problems) == (None, ())


def test_a_page_of_the_site_that_a_route_is_retired_buries_no_repo(cache: Path) -> None:
    page = always(410, b"<html>410 - gone</html>", Content_Type="text/html; charset=utf-8")
    with Odd(page) as odd, pytest.raises(HubTrouble, match="410"):
        ask(odd.endpoint, cache).look("ann/x")
    assert reasons(page, cache) == ["unreachable"]


# Where a request goes, and what it is charged to


@pytest.mark.parametrize(
    ("path", "window", "spent"),
    [
        ("/api/models?limit=1", "api", "api"),
        ("/ann/x/resolve/main/config.json", "resolvers", "resolvers"),
        ("/api/resolve-cache/models/ann/x/main/config.json", "resolvers", None),
        ("/hub/api/models/ann/x", "api", "api"),
        ("/hub/ann/x/resolve/main/config.json", "resolvers", "resolvers"),
        ("/hub/api/resolve-cache/models/ann/x/main/config.json", "resolvers", None),
        ("/api/hub/ann/x/resolve/main/config.json", "resolvers", "resolvers"),
        ("/api/hub/api/models/ann/x", "api", "api"),
        ("/ann/x/resolve/main/api/models/config.json", "resolvers", "resolvers"),
        ("/api/models/ann/resolve/revision/main", "api", "api"),
        ("/xet-bridge/0a", None, None),
    ],
)
def test_a_request_is_charged_by_its_route_behind_any_prefix(path: str, window: str | None, spent: str | None) -> None:
    request = httpx2.Request("GET", f"https://hub.example{path}")
    assert (window_of(request), spent_by(request)) == (window, spent)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("https://hub.example:443/x", "https://hub.example", True),
        ("http://HUB.example:80", "http://hub.example", True),
        ("https://hub.example:80", "https://hub.example", False),
        ("https://hub.example", "http://hub.example", False),
        ("http://hub.example:8080", "http://hub.example:80", False),
    ],
)
def test_a_port_that_goes_without_saying_makes_no_other_hub(one: str, other: str, same: bool) -> None:
    assert (origin(one) == origin(other)) is same


def test_a_hub_at_another_address_that_refuses_is_left_alone_for_minutes(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The endpoint sends us on, so its budget does not pace us."""
    monkeypatch.setattr(transport, "BLIND_S", (0.05,))
    with Odd(always(429)) as there, Odd(lambda r, _: reply(r, 301, Location=there.endpoint + r.path)) as odd:
        began = time.monotonic()
        with pytest.raises(HubTrouble, match="429"):
            ask(odd.endpoint, cache).page(Target("tag", "x"))
        waited = time.monotonic() - began
    assert (len(there.asked), waited > 8 * 0.05) == (10, True)  # five tries of a page, five of a smaller one


def test_no_cookie_is_sent_back(cache: Path) -> None:
    """It would tell the hub that callers with different tokens are one."""
    with Odd(always(200, TEXT, Set_Cookie="who=ann; Path=/")) as odd:
        hub = ask(odd.endpoint, cache)
        for _ in range(2):
            hub.read_text("ann/x", CONFIG, SHA, 1 << 10)
    assert [headers.get("cookie") for _, headers in odd.asked] == [None, None]
