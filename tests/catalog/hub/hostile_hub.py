"""A hub that means harm: a server that pours, drips and lies, and how its answers are asked for and judged."""

from __future__ import annotations

import socket
import threading
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from catalog.adapters.adapter import AdapterId
from catalog.adapters.facts import AdapterFacts, RawAdapter, RepoListing, gather_facts
from catalog.bases.base import Base
from catalog.errors import LorauterError
from catalog.hub.client import Hub, HubOptions
from catalog.hub.target import Target
from catalog.rules.table import Policy, judge

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


def outcome(act: Callable[[], object]) -> str:
    """What an act gave or which error for people it raised; any other error is a fault of ours."""
    try:
        return repr(act())
    except LorauterError as error:
        assert error.cause and error.next_step and "\n" not in str(error)
        return f"{type(error).__name__}: {error}"
