"""Bad weather on demand: what a client meets when the mirror is told to misbehave."""

from __future__ import annotations

import gzip
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby
from pathlib import Path

import httpx2
import pytest
from huggingface_hub import HfApi, hf_hub_download
from huggingface_hub.utils._http import parse_ratelimit_headers

from catalog.errors import SettingError
from flows.mirror.faults import Faults
from flows.mirror.likeness import Likeness
from flows.mirror.server import HubServer, serve_in_thread

WEIGHTS = bytes(range(256)) * 400
FILE = "/acme/one/resolve/main/notes.txt"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hub")
    for name in ("one", "two", "three"):
        root = folder / "acme" / name
        root.mkdir(parents=True)
        (root / "notes.txt").write_bytes(WEIGHTS)
        (root / "model.safetensors").write_bytes(WEIGHTS)
    return folder


def serve(folder: Path, faults: Faults | None = None) -> HubServer:
    """A mirror that nobody has asked yet. No hop before a text: each test spoils one answer."""
    return serve_in_thread(folder, likeness=Likeness(resolve_cache=False), faults=faults)


@pytest.fixture(scope="module")
def hub(folder: Path) -> Iterator[HubServer]:
    with serve(folder) as server:
        yield server


@pytest.fixture
def weather(hub: HubServer) -> Iterator[HubServer]:
    """The server, with the sky cleared after the test."""
    hub.counts.faults.clear()
    yield hub
    hub.set_faults(None)


def get(hub: HubServer, path: str, encoding: str = "identity", **headers: str) -> httpx2.Response:
    return httpx2.get(hub.endpoint + path, headers={"Accept-Encoding": encoding, **headers}, timeout=5)


@pytest.mark.parametrize(
    ("kind", "status", "type_"),
    [("too_many", 429, "application/json"), ("broken", 500, "application/json"), ("unavailable", 503, "text/html")],
)
def test_a_refusal_comes_with_its_status(weather: HubServer, kind: str, status: int, type_: str) -> None:
    weather.set_faults(Faults(**{kind: 1.0}))
    answers = [get(weather, path) for path in ("/api/models", "/api/models/acme/one", FILE, "/lfs/acme/one/x")]
    assert [answer.status_code for answer in answers] == [status] * 4
    assert answers[0].headers["content-type"].partition(";")[0] == type_
    assert weather.counts.faults == {kind: 4}


def test_too_many_says_when_to_come_back(weather: HubServer) -> None:
    weather.set_faults(Faults(too_many=1.0, retry_after_s=3))
    headers = get(weather, FILE).headers
    told = parse_ratelimit_headers(headers)
    assert told
    assert (headers["retry-after"], told.resource_type, told.remaining, told.reset_in_seconds) == (
        "3",
        "resolvers",
        0,
        3,
    )


def test_a_stalled_answer_never_comes(weather: HubServer) -> None:
    weather.set_faults(Faults(stalled=1.0, stall_s=0.3))
    began = time.monotonic()
    with pytest.raises(httpx2.ReadTimeout):
        httpx2.get(weather.endpoint + FILE, timeout=0.1)
    with pytest.raises(httpx2.RemoteProtocolError):
        get(weather, FILE)
    assert 0.4 <= time.monotonic() - began < 2.0


@pytest.mark.parametrize("path", ["/api/models", "/api/models/acme/one", FILE])
def test_a_cut_body_ends_the_connection(weather: HubServer, path: str) -> None:
    weather.set_faults(Faults(cut=1.0))
    with pytest.raises(httpx2.RemoteProtocolError, match="peer closed connection"):
        get(weather, path)


def test_a_wrong_length_is_too_long_too_short_or_consistently_short(weather: HubServer) -> None:
    weather.set_faults(Faults(wrong_length=1.0))
    met: Counter[str] = Counter()
    for number in range(24):
        try:
            answer = get(weather, f"{FILE}?try={number}", Range="bytes=1000-90999")
        except httpx2.RemoteProtocolError:  # the length was above what came
            met["broken off"] += 1
            continue
        sent = len(answer.content)
        assert (answer.status_code, answer.content) == (206, WEIGHTS[1000 : 1000 + sent])
        assert (answer.headers["content-length"], answer.headers["content-range"]) == (
            str(sent),
            f"bytes 1000-90999/{len(WEIGHTS)}",
        )
        met["short" if sent < 90_000 else "whole"] += 1
    assert set(met) == {"broken off", "short"}


def test_a_slow_body_is_whole(weather: HubServer) -> None:
    weather.set_faults(Faults(slow=1.0, slow_s=0.4))
    began = time.monotonic()
    answer = get(weather, FILE)
    assert answer.content == WEIGHTS
    assert 0.35 <= time.monotonic() - began < 2.0


def test_a_packed_body_may_be_cut_too(weather: HubServer) -> None:
    weather.set_faults(Faults(cut=1.0))
    for path in ("/api/models/acme/one", FILE):
        with pytest.raises(httpx2.RemoteProtocolError, match="peer closed connection"):
            get(weather, path, "gzip")


def test_a_packed_body_may_end_early_by_the_rules(weather: HubServer) -> None:
    weather.set_faults(Faults(wrong_length=1.0))
    request = httpx2.Request("GET", weather.endpoint + FILE, headers={"Accept-Encoding": "gzip"})
    with httpx2.Client() as client:
        answer = client.send(request, stream=True)
        packed = b"".join(answer.iter_raw())
    assert answer.headers["content-encoding"] == "gzip"
    assert "content-length" not in answer.headers
    with pytest.raises(EOFError):
        gzip.decompress(packed)


def test_a_packed_body_may_drip(weather: HubServer) -> None:
    weather.set_faults(Faults(slow=1.0, slow_s=0.4))
    began = time.monotonic()
    answer = get(weather, FILE, "gzip")
    assert answer.content == WEIGHTS
    assert 0.35 <= time.monotonic() - began < 2.0


def test_the_file_host_refuses_in_bursts_and_nobody_else(folder: Path) -> None:
    with serve(folder, Faults(seed=3, forbidden=0.3, burst=4)) as weather, httpx2.Client() as client:
        large = get(weather, "/acme/one/resolve/main/model.safetensors").headers["location"]
        answers = [client.get(large) for _ in range(80)]
        others = {get(weather, path).status_code for path in ("/api/models", FILE) for _ in range(10)}
    runs = [(status, len(list(run))) for status, run in groupby(answer.status_code for answer in answers)]
    refused = next(answer for answer in answers if answer.status_code == 403)
    assert {status for status, _ in runs} == {200, 403}
    assert all(length % 4 == 0 for _, length in runs)
    assert others == {200}
    assert refused.headers["content-type"] == "application/xml"
    assert "<Code>AccessDenied</Code>" in refused.text


def test_a_page_says_too_many_while_the_headers_say_there_is_room(weather: HubServer) -> None:
    weather.set_faults(Faults(html_429=1.0))
    answer = get(weather, "/api/models")
    told = parse_ratelimit_headers(answer.headers)
    assert (answer.status_code, answer.headers["content-type"]) == (429, "text/html; charset=utf-8")
    assert "retry-after" not in answer.headers
    assert told
    assert told.remaining > 0
    assert Faults.evenly(0.01).html_429 == 0


def test_head_meets_no_body_faults(weather: HubServer) -> None:
    weather.set_faults(Faults(cut=0.4, wrong_length=0.3, slow=0.3))
    asked = {"Accept-Encoding": "identity"}
    answers = [httpx2.head(weather.endpoint + FILE, headers=asked) for _ in range(5)]
    assert {(answer.status_code, answer.headers["content-length"]) for answer in answers} == {(200, str(len(WEIGHTS)))}


def test_a_run_meets_the_same_faults_whatever_its_order(folder: Path) -> None:
    paths = [f"/api/models?search={number}" for number in range(25)]

    def statuses(order: list[str]) -> dict[str, list[int]]:
        with (
            serve(folder, Faults(seed=7, broken=0.3, unavailable=0.2)) as weather,
            httpx2.Client(base_url=weather.endpoint, timeout=5) as client,
        ):
            return {path: [client.get(path).status_code for _ in range(3)] for path in order}

    first, second = statuses(paths), statuses(paths[::-1])
    assert first == second
    assert {status for several in first.values() for status in several} == {200, 500, 503}
    assert any(several[0] != several[1] for several in first.values())  # a retry draws anew


def test_the_client_gets_through_a_storm(weather: HubServer, tmp_path: Path) -> None:
    weather.set_faults(Faults(broken=0.1, unavailable=0.1, slow=0.1, slow_s=0.05, too_many=0.1))
    path = hf_hub_download("acme/one", "model.safetensors", endpoint=weather.endpoint, cache_dir=tmp_path, token=False)
    assert Path(path).read_bytes() == WEIGHTS


def test_the_sky_clears_at_once(weather: HubServer) -> None:
    weather.set_faults(Faults(broken=1.0))
    before = get(weather, FILE).status_code
    weather.set_faults(None)
    assert (before, get(weather, FILE).content, weather.faults) == (500, WEIGHTS, None)


def test_an_unspoilt_answer_keeps_its_connection(weather: HubServer) -> None:
    weather.set_faults(Faults(cut=0.3))
    asked = {"Accept-Encoding": "identity"}
    with httpx2.Client(base_url=weather.endpoint, headers=asked, timeout=5) as client:
        fine = 0
        for number in range(30):
            try:
                fine += client.get(f"{FILE}?try={number}").content == WEIGHTS
            except httpx2.RemoteProtocolError:
                continue
    assert fine + weather.counts.faults.total() == 30
    assert fine >= 10


def test_a_deep_page_is_answered_only_when_small(weather: HubServer) -> None:
    cursor = httpx2.URL(get(weather, "/api/models?limit=2").links["next"]["url"]).params["cursor"]
    weather.set_faults(Faults(deep_cursor=1))
    statuses = [get(weather, f"/api/models?limit={size}&cursor={cursor}").status_code for size in (1000, 101, 100)]
    assert statuses == [504, 504, 200]
    assert get(weather, "/api/models?limit=1000").status_code == 200


def test_latency_is_waited_side_by_side(tmp_path: Path) -> None:
    (tmp_path / "acme/one").mkdir(parents=True)
    (tmp_path / "acme/one/x.txt").write_text("x")
    with serve_in_thread(tmp_path, latency_s=0.2) as slow, ThreadPoolExecutor(20) as many:
        began = time.monotonic()
        answers = list(many.map(lambda _: get(slow, "/api/models/acme/one").status_code, range(20)))
        took = time.monotonic() - began
    assert answers == [200] * 20
    assert 0.2 <= took < 2.0


def test_shares_are_checked() -> None:
    assert Faults.evenly(0.1, seed=3).cut == 0.1
    for wrong in ({"cut": -0.1}, {"cut": 0.6, "slow": 0.6}):
        with pytest.raises(SettingError):
            Faults(**wrong)


def test_good_weather_counts_what_was_sent(tmp_path: Path) -> None:
    (tmp_path / "acme/one").mkdir(parents=True)
    (tmp_path / "acme/one/model.safetensors").write_bytes(WEIGHTS)
    with serve_in_thread(tmp_path) as hub:
        api = HfApi(endpoint=hub.endpoint, token=False)
        rows = list(api.list_models())
        hf_hub_download("acme/one", "model.safetensors", endpoint=hub.endpoint, cache_dir=tmp_path / "c", token=False)
    counts = hub.counts
    assert ([row.id for row in rows], counts.pages, counts.tokens) == (["acme/one"], 1, 1)
    assert (counts.api, counts.resolvers) == (2, 1)  # a page and a token; the HEAD that tells of Xet
    assert len(WEIGHTS) < counts.bytes < len(WEIGHTS) + 4000
    assert not counts.faults
