"""A hub that means harm, over real HTTP: what it sends is bounded in bytes and seconds, never run."""

from __future__ import annotations

import json
import pickle
import time
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from catalog.adapters.adapter import Finding
from catalog.adapters.facts import RawAdapter, RepoListing
from catalog.adapters.parse import CONFIG_LIMIT, HEADER_LIMIT, Problem
from catalog.bases.base import Base
from catalog.errors import DiskError
from catalog.rules.table import Policy, judge
from tests.catalog.hub.hostile_hub import (
    ADAPTER,
    BASE,
    BUFFERS,
    CONFIG,
    CONFIG_TEXT,
    DEADLINE,
    FILE,
    HEADER,
    LARGE,
    LISTING,
    PICKLE,
    SHA,
    WEIGHTS,
    Hostile,
    ask,
    ask_in_a_hurry,
    facts_of,
    files,
    head,
    listed,
    outcome,
    read,
    reasons,
    reply,
)

pytestmark = pytest.mark.timeout(30)


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def test_what_these_stories_break_is_sound(cache: Path) -> None:
    assert reasons(facts_of(read(files(), cache))) == []


# Files that lie


@pytest.mark.parametrize("length", [1 << 60, (1 << 64) - 1, HEADER_LIMIT + 1])
def test_a_header_that_declares_more_than_the_limit_costs_one_read(cache: Path, length: int) -> None:
    with Hostile(files(adapter_model__safetensors=length.to_bytes(8, "little") + HEADER)) as hostile:
        raw = ask(hostile.endpoint, cache).read_adapter(LISTING, ADAPTER)
    evidence = f"the header declares {length} bytes, the limit is {HEADER_LIMIT}"
    assert raw.problems == (Problem("bad_header", evidence),)
    assert [path.rpartition("/")[2] for path, _ in hostile.asked] == [CONFIG, WEIGHTS]


@pytest.mark.parametrize(
    ("config", "evidence"),
    [
        (b'{"a":' + b"[" * 100_000, "nested too deeply"),
        (b'{"a":' * 100 + b"1" + b"}" * 100, "nested deeper than 64 levels"),
        (b'{"r": 1, "r": 2}', "not JSON (a key appears twice)"),
        (b'{"r": NaN}', "not JSON (NaN is not JSON)"),
        (b"<html><script>alert(1)</script></html>", "not JSON (Expecting value: line 1 column 1 (char 0))"),
        (b'{"r": "\xff"}', "not UTF-8 (byte 7)"),
    ],
)
def test_a_hostile_config_is_a_problem_with_its_cause(cache: Path, config: bytes, evidence: str) -> None:
    facts = facts_of(read(files(adapter_config__json=config), cache))
    assert facts.problems == (Problem("bad_config", f"{CONFIG}: {evidence}"),)
    assert reasons(facts)[0] == "bad_config"


@pytest.mark.parametrize(
    ("module", "pattern"),
    [
        ("m." + "a" * 64, r"m.(?:a|aa)*!"),
        pytest.param(
            "m.q",
            r"m\.q|m.(?:a|aa)*$",
        ),
    ],
    ids=["slow on the adapter's", "slow on the base's"],
)
def test_a_pattern_of_a_config_takes_no_more_than_its_time(cache: Path, module: str, pattern: str) -> None:
    config = json.dumps(json.loads(CONFIG_TEXT) | {"target_modules": pattern}).encode()
    header = HEADER.replace(b"m.q", module.encode())
    file = len(header).to_bytes(8, "little") + header + bytes(192)
    facts = facts_of(read(files(adapter_config__json=config, adapter_model__safetensors=file), cache))
    slow = Base(BASE.id, SHA, {module: (4, 8), **{f"m.{'a' * 64}{n}!": (4, 8) for n in range(300)}})
    began = time.thread_time()
    found = judge(facts, slow, Policy())
    assert time.thread_time() - began < 3.0
    assert [finding.reason for finding in found] == ["undecidable_pattern"]


# More than was asked for


def test_a_huge_config_is_read_up_to_the_limit_and_no_further(cache: Path) -> None:
    def flood(request: BaseHTTPRequestHandler) -> None:
        head(request, 200, Content_Length=str(LARGE))
        hostile.pour(request, LARGE)

    with Hostile(flood) as hostile:
        raw = ask(hostile.endpoint, cache).read_adapter(RepoListing("ann/x", SHA, (CONFIG,)), ADAPTER)
    assert raw.config is not None and len(raw.config) == CONFIG_LIMIT + 1
    assert reasons(facts_of(raw))[0] == "bad_config"
    assert hostile.sent < CONFIG_LIMIT + BUFFERS


@pytest.mark.parametrize("status", [404, 403, 500])
def test_a_huge_error_is_not_read_whole(cache: Path, status: int) -> None:
    def flood(request: BaseHTTPRequestHandler) -> None:
        head(request, status, Content_Length=str(LARGE), Content_Type="text/plain")
        hostile.pour(request, LARGE)

    with Hostile(flood) as hostile:
        told = outcome(lambda: ask(hostile.endpoint, cache).read_adapter(LISTING, ADAPTER))
    assert len(told) < 1000
    assert 0 < hostile.sent < BUFFERS


def test_a_compressed_body_that_swells_is_bounded(cache: Path) -> None:
    """Gzip although identity was asked for: an eighth of a megabyte that would be 128."""
    swelling = zlib.compressobj(wbits=31)
    packed = b"".join(swelling.compress(b" " * (1 << 20)) for _ in range(128)) + swelling.flush()
    tracemalloc.start()
    try:
        with Hostile(lambda request: reply(request, 200, packed, Content_Encoding="gzip")) as hostile:
            told = outcome(lambda: ask(hostile.endpoint, cache).read_adapter(LISTING, ADAPTER))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(told) < CONFIG_LIMIT + 1000
    assert peak < 16 << 20


# Without an end


def drip(hostile: Hostile, request: BaseHTTPRequestHandler) -> None:
    head(request, 200, Content_Length=str(LARGE), Content_Type="application/json")
    hostile.pour(request, LARGE, pause=0.05, piece=b"[")


def endless(hostile: Hostile, request: BaseHTTPRequestHandler) -> None:
    head(request, 200, Content_Type="application/json")
    hostile.pour(request, 1 << 60, pause=0.001, piece=b"[" * 100)


def silent(hostile: Hostile, request: BaseHTTPRequestHandler) -> None:
    hostile.closing.wait(30)


def dripping_error(hostile: Hostile, request: BaseHTTPRequestHandler) -> None:
    head(request, 404, Content_Length=str(LARGE))
    hostile.pour(request, LARGE, pause=0.05, piece=b"x")


def dripping_head(hostile: Hostile, request: BaseHTTPRequestHandler) -> None:
    request.wfile.write(b"HTTP/1.0 200 OK\r\nX-Slow: ")
    hostile.pour(request, 120, pause=0.05, piece=b"x")  # six seconds are enough to tell


def going_round(hostile: Hostile, request: BaseHTTPRequestHandler) -> None:
    reply(request, 302, Location=f"{request.path}?{len(hostile.asked)}")


ENDLESS = (drip, endless, silent, dripping_error, dripping_head, going_round)


@pytest.mark.parametrize("answer", ENDLESS, ids=lambda answer: answer.__name__)
def test_a_file_without_an_end_is_given_up_in_time(cache: Path, answer: Callable[..., None]) -> None:
    with Hostile(lambda request: answer(hostile, request)) as hostile:
        began = time.monotonic()
        told = outcome(lambda: ask_in_a_hurry(hostile.endpoint, cache).read_adapter(LISTING, ADAPTER))
        took = time.monotonic() - began
    assert hostile.asked and ("reason='unreachable'" in told or told.startswith("HubDown"))
    assert took < DEADLINE + 1.5


@pytest.mark.parametrize("answer", ENDLESS, ids=lambda answer: answer.__name__)
def test_a_listing_without_an_end_is_given_up_in_time(cache: Path, answer: Callable[..., None]) -> None:
    with Hostile(lambda request: answer(hostile, request)) as hostile:
        began = time.monotonic()
        told = outcome(lambda: listed(ask_in_a_hurry(hostile.endpoint, cache)))
        took = time.monotonic() - began
    assert hostile.asked and told.startswith(("HubError", "HubDown", "HubTrouble"))
    assert took < 2 * DEADLINE + 1.5  # a page that fails is asked for once more, smaller


# Elsewhere


def test_a_token_does_not_follow_a_file_to_another_host(cache: Path) -> None:
    with Hostile(files(), host="localhost") as other:

        def redirect(request: BaseHTTPRequestHandler) -> None:
            reply(request, 302, Location=f"{other.endpoint}{request.path}")

        with Hostile(redirect) as hostile:
            raw = ask(hostile.endpoint, cache, "hf_secret").read_adapter(LISTING, ADAPTER)
    assert raw == RawAdapter(CONFIG_TEXT.decode(), HEADER.decode(), len(FILE), None)
    assert [headers["authorization"] for _, headers in hostile.asked] == ["Bearer hf_secret"] * 2
    assert ["authorization" in headers for _, headers in other.asked] == [False, False]
    assert "hf_secret" not in repr(other.asked)


def test_a_token_does_not_follow_a_download_to_another_host(cache: Path) -> None:
    with Hostile(files(), host="localhost") as other:

        def redirect(request: BaseHTTPRequestHandler) -> None:
            told = {"ETag": '"1"', "X_Repo_Commit": SHA, "X_Linked_Size": str(len(FILE)), "X_Linked_Etag": '"1"'}
            reply(request, 302, Location=f"{other.endpoint}{request.path}", **told)

        with Hostile(redirect) as hostile:
            folder = ask(hostile.endpoint, cache, "hf_secret").download("ann/x", [WEIGHTS], SHA)
    assert (folder / WEIGHTS).read_bytes() == FILE
    assert {headers.get("authorization") for _, headers in hostile.asked} == {"Bearer hf_secret"}
    assert other.asked and "hf_secret" not in repr(other.asked)


@pytest.mark.parametrize("route", ["redirect", "next"])
def test_a_listing_does_not_take_a_token_to_another_host(cache: Path, route: str) -> None:
    with Hostile(lambda request: reply(request, 200, b"[]"), host="localhost") as other:

        def lead_away(request: BaseHTTPRequestHandler) -> None:
            away = f"{other.endpoint}/api/models?cursor=1"
            if route == "redirect":
                return reply(request, 302, Location=away)
            return reply(request, 200, b"[]", Link=f'<{away}>; rel="next"')

        with Hostile(lead_away) as hostile:
            told = outcome(lambda: listed(ask(hostile.endpoint, cache, "hf_secret")))
    assert "hf_secret" not in repr(other.asked) + told
    if route == "next":
        assert other.asked == []


# The disk


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    path = tmp_path / "outside" / WEIGHTS
    path.parent.mkdir()
    path.write_bytes(b"theirs")
    return path


@pytest.mark.parametrize("planted", ["file", "commit"])
def test_a_link_out_of_the_cache_is_not_followed(cache: Path, outside: Path, planted: str) -> None:
    with Hostile(files()) as hostile:
        hub = ask(hostile.endpoint, cache)
        folder = hub.local("ann/x", SHA)
        if planted == "file":
            folder.mkdir(parents=True)
            (folder / WEIGHTS).symlink_to(outside)
        else:
            folder.parent.mkdir(parents=True)
            folder.symlink_to(outside.parent)
        with pytest.raises(DiskError, match="out of the cache") as caught:
            hub.download("ann/x", [WEIGHTS], SHA)
    assert caught.value.next_step
    assert outside.read_bytes() == b"theirs"


# Pickles


class Bomb:
    """Loading it makes a file."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.marker,))


@pytest.fixture
def marker(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "marker"
    yield path
    assert not path.exists(), "a pickle was loaded"


def test_a_pickle_is_never_opened(cache: Path, marker: Path) -> None:
    bomb = pickle.dumps(Bomb(marker))
    listing = RepoListing("ann/x", SHA, (CONFIG, PICKLE))
    with Hostile(files(adapter_model__bin=bomb)) as hostile:
        facts = facts_of(ask(hostile.endpoint, cache).read_adapter(listing, ADAPTER), listing)
    assert judge(facts, BASE, Policy())[0] == Finding("pickle_only", f"only {PICKLE}, a pickle, which is never opened")
    assert [path.rpartition("/")[2] for path, _ in hostile.asked] == [CONFIG]


def test_a_pickle_under_the_name_of_sound_weights_is_a_bad_header(cache: Path, marker: Path) -> None:
    facts = facts_of(read(files(adapter_model__safetensors=pickle.dumps(Bomb(marker))), cache))
    assert reasons(facts)[0] == "bad_header"


def test_a_bomb_is_a_bomb(tmp_path: Path) -> None:
    """Else the two stories above tell nothing."""
    pickle.loads(pickle.dumps(Bomb(tmp_path / "made")))
    assert (tmp_path / "made").exists()
