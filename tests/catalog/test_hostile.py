"""A hub that means harm, over real HTTP: what it sends is bounded in bytes and seconds, never run."""

from __future__ import annotations

import json
import pickle
import socket
import threading
import time
import tracemalloc
import unicodedata
import zlib
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from catalog.adapters.adapter import AdapterId, Finding
from catalog.adapters.facts import AdapterFacts, RawAdapter, RepoListing, gather_facts
from catalog.adapters.parse import CONFIG_LIMIT, HEADER_LIMIT, Problem
from catalog.bases.base import Base
from catalog.bases.names import match_base
from catalog.errors import DiskError, LorauterError
from catalog.hub.client import Hub, HubOptions
from catalog.hub.target import Target
from catalog.rules.profile import profile
from catalog.rules.table import Policy, judge
from flows.screen.screen import printable

SHA = "a" * 40
CONFIG, WEIGHTS, PICKLE = "adapter_config.json", "adapter_model.safetensors", "adapter_model.bin"
LISTING = RepoListing("ann/x", SHA, (CONFIG, WEIGHTS))
ADAPTER = AdapterId("ann/x", "", SHA)
BASE = Base("tiny/llama", SHA, {"m.q": (4, 8)})
TARGET = Target("base", BASE.id)
CONFIG_TEXT = b'{"peft_type": "LORA", "base_model_name_or_path": "tiny/llama", "target_modules": ["q"], "r": 4}'
HEADER = (
    b'{"base_model.model.m.q.lora_A.weight":{"dtype":"F32","shape":[4,4],"data_offsets":[0,64]},'
    b'"base_model.model.m.q.lora_B.weight":{"dtype":"F32","shape":[8,4],"data_offsets":[64,192]}}'
)
FILE = len(HEADER).to_bytes(8, "little") + HEADER + bytes(192)
LARGE = 100_000_000
BUFFERS = 10 << 20  # bytes that two sockets may hold between them when the reader has gone
TIMEOUT, DEADLINE = 2.0, 0.4

pytestmark = pytest.mark.timeout(30)

Answer = Callable[[BaseHTTPRequestHandler], None]


@dataclass
class Hostile:
    """A server that answers as a function says, and remembers who asked for what and how much it got rid of."""

    answer: Answer
    host: str = "127.0.0.1"
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    sent: int = 0
    closing: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Hostile:
        hostile = self

        class Handler(BaseHTTPRequestHandler):
            """HTTP/1.0: a connection an answer, so that all threads end."""

            def do_GET(self) -> None:
                hostile.asked.append((self.path, {k.lower(): v for k, v in self.headers.items()}))
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 16)
                try:
                    hostile.answer(self)
                except OSError:
                    self.close_connection = True  # the reader had enough

            do_HEAD = do_GET

            def log_message(self, *args: object) -> None:
                """Quiet."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = False  # closing waits for them: `sent` is then final
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self.closing.set()
        self.server.shutdown()
        self.server.server_close()

    @property
    def endpoint(self) -> str:
        return f"http://{self.host}:{self.server.server_port}"

    def pour(self, request: BaseHTTPRequestHandler, size: int, pause: float = 0.0, piece: bytes = b" " * 65536) -> None:
        """Send up to `size` bytes for as long as anyone takes them."""
        while size > 0 and not self.closing.wait(pause):
            size -= len(piece)
            request.wfile.write(piece)
            self.sent += len(piece)


def head(request: BaseHTTPRequestHandler, status: int, **headers: str) -> None:
    request.send_response(status)
    for name, value in headers.items():
        request.send_header(name.replace("_", "-"), value)
    request.end_headers()


def reply(request: BaseHTTPRequestHandler, status: int, body: bytes = b"", **headers: str) -> None:
    head(request, status, **{"Content_Length": str(len(body)), **headers})
    if request.command != "HEAD":
        request.wfile.write(body)


def files(**contents: bytes) -> Answer:
    """Files of a repo by name, `_json` standing for `.json` and so on; the sound ones where nothing else is given."""
    given = {name.replace("__", "."): body for name, body in contents.items()}
    served = {CONFIG: CONFIG_TEXT, WEIGHTS: FILE, **given}
    return lambda request: reply(request, 200, served[request.path.rpartition("/")[2]])


def ask(endpoint: str, cache: Path, token: str | None = None) -> Hub:
    return Hub(HubOptions(endpoint, cache, token, timeout=TIMEOUT, attempts=1))


def ask_in_a_hurry(endpoint: str, cache: Path) -> Hub:
    return Hub(HubOptions(endpoint, cache, timeout=TIMEOUT, deadline=DEADLINE, attempts=1))


def read(answer: Answer, cache: Path, listing: RepoListing = LISTING) -> RawAdapter:
    with Hostile(answer) as hostile:
        return ask(hostile.endpoint, cache).read_adapter(listing, ADAPTER)


def facts_of(raw: RawAdapter, listing: RepoListing = LISTING) -> AdapterFacts:
    return gather_facts(listing, listing.adapters()[0], raw)


def reasons(facts: AdapterFacts, policy: Policy | None = None) -> list[str]:
    return [finding.reason for finding in judge(facts, BASE, policy or Policy())]


def listed(hub: Hub) -> list[RepoListing]:
    first = hub.page(TARGET)
    rest = hub.page(TARGET, first.next_url).repos if first.next_url else ()
    return [*first.repos, *rest]


def is_clean(text: str) -> bool:
    return not any(unicodedata.category(c).startswith("C") for c in text)


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


def outcome(act: Callable[[], object]) -> str:
    """What an act gave or which error for people it raised; any other error is a fault of ours."""
    try:
        return repr(act())
    except LorauterError as error:
        assert error.cause and error.next_step and "\n" not in str(error)
        return f"{type(error).__name__}: {error}"


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


# Names


HOSTILE_NAMES = (
    "<script>alert(1)</script>",
    "a\x1b[2J\x1b[31mred",
    "a\r\nSet-Cookie: x",
    "a\u202egnp.exe",
    "a\u2028b",
    "\ud800",
    "../../../etc/passwd",
    "/etc/passwd",
    "x\x00y",
)


def entry(**changes: object) -> dict[str, Any]:
    siblings = [{"rfilename": name} for name in (CONFIG, WEIGHTS)]
    return {"id": "ann/x", "sha": SHA, "siblings": siblings, "tags": ["license:mit"], **changes}


def list_one(cache: Path, item: object) -> RepoListing:
    with Hostile(lambda request: reply(request, 200, json.dumps([item]).encode())) as hostile:
        return listed(ask(hostile.endpoint, cache))[0]


@pytest.mark.parametrize("name", HOSTILE_NAMES)
@pytest.mark.parametrize(
    "place",
    [
        lambda name: {"id": name},
        lambda name: {"id": f"ann/{name}"},
        lambda name: {"sha": name},
        lambda name: {"siblings": [{"rfilename": CONFIG}, {"rfilename": name}]},
        lambda name: {"siblings": [{"rfilename": f"{name}/{CONFIG}"}]},
    ],
    ids=["repo", "repo's second half", "sha", "file", "folder"],
)
def test_a_hostile_name_is_refused_and_shown_clean(
    cache: Path, name: str, place: Callable[[str], dict[str, Any]]
) -> None:
    listing = list_one(cache, entry(**place(name)))
    found = judge(facts_of(RawAdapter(), listing), BASE, Policy())
    if name in listing.files and "/" in name:  # a file of another folder is never asked for, and so not judged
        assert name not in listing.files_in("")
    else:
        assert found[0].reason == "hostile_name"
    assert all(is_clean(finding.evidence) for finding in found)
    assert is_clean(printable(listing).replace("\n", ""))


@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_a_hostile_licence_is_told_clean(cache: Path, name: str) -> None:
    listing = list_one(cache, entry(tags=[f"license:{name}", name]))
    findings = judge(facts_of(RawAdapter(), listing), BASE, Policy(licences=("mit",)))
    told = next(finding.evidence for finding in findings if finding.reason == "licence")
    assert is_clean(told) and told.endswith("is not among mit")
    assert is_clean(printable(listing.licence).replace("\n", ""))


@pytest.mark.parametrize("name", ["task_type", "bias", "peft_type", "\ud800"])
def test_half_a_surrogate_pair_in_a_config_goes_no_further(cache: Path, name: str) -> None:
    config = json.dumps(json.loads(CONFIG_TEXT) | {name: "\ud800"}).encode()
    facts = facts_of(read(files(adapter_config__json=config), cache))
    told = profile(facts, BASE, match_base(facts, [BASE]))
    texts = [str(value) for value in asdict(told).values()] + [f.evidence for f in judge(facts, BASE, Policy())]
    assert not any("\ud800" in text for text in texts)


def test_names_that_meet_on_a_disk_without_case_are_refused() -> None:
    listing = RepoListing("ann/x", SHA, (CONFIG, WEIGHTS, "Adapter_Model.safetensors"))
    facts = facts_of(RawAdapter(CONFIG_TEXT.decode(), HEADER.decode(), len(FILE)), listing)
    assert "colliding_names" in reasons(facts)


def test_a_repo_of_very_many_folders_is_taken_apart_in_time() -> None:
    listing = RepoListing("ann/x", SHA, tuple(f"{n}/{CONFIG}" for n in range(3_000)))
    began = time.monotonic()
    found = [listing.files_in(adapter.path) for adapter in listing.adapters()]
    assert len(found) <= 3_000 and set(found) == {(CONFIG,)}
    assert time.monotonic() - began < 0.5


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
