"""The Xet storage of the mirror: unmodified clients download through it, and what they meet when it refuses."""

from __future__ import annotations

import json
import os
import random
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from flows.mirror.content import Text
from flows.mirror.disk import lfs_file
from flows.mirror.faults import Faults
from flows.mirror.generated import GeneratedShelf
from flows.mirror.lfs import Signer
from flows.mirror.likeness import Likeness
from flows.mirror.server import HubServer, serve_in_thread
from flows.mirror.xet import CHUNK_BYTES, XORB_BYTES, Xorb, reconstruction, xorbs_of

SIZES = {"empty": 0, "one": 1, "chunk": CHUNK_BYTES, "over": CHUNK_BYTES + 1, "xorbs": XORB_BYTES + 3 * CHUNK_BYTES + 7}
FETCH = """
import sys
from huggingface_hub import hf_hub_download, snapshot_download
endpoint, cache, repo, *names = sys.argv[1:]
for name in names:
    print(hf_hub_download(repo, name, endpoint=endpoint, cache_dir=cache, token=False))
if not names:
    print(snapshot_download(repo, endpoint=endpoint, cache_dir=cache, token=False))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hub")
    root = folder / "acme/one"
    (root / "sub").mkdir(parents=True)
    noise = random.Random(1)
    for name, size in SIZES.items():
        (root / f"{name}.safetensors").write_bytes(noise.randbytes(size))
    (root / "sub/config.json").write_text(json.dumps({"a": "x" * 3000}))
    return folder


@pytest.fixture
def hub(folder: Path) -> Iterator[HubServer]:
    with serve_in_thread(folder) as server:
        yield server


def run(command: list[str], home: Path, **env: str) -> subprocess.CompletedProcess[str]:
    """A client in a process of its own: it reads the environment when it is imported."""
    kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    quiet = {"HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_XET_TELEMETRY_ENABLED": "0"}
    env = {**kept, **quiet, "HF_HOME": str(home), "NO_PROXY": "*", **env}
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=120)


def fetch(hub: HubServer, tmp_path: Path, *names: str, **env: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", FETCH, hub.endpoint, str(tmp_path / "cache"), "acme/one", *names]
    return run(command, tmp_path / "home", **env)


def same(there: Path, here: Path) -> bool:
    names = sorted(str(path.relative_to(here)) for path in here.rglob("*") if path.is_file())
    return all((there / name).read_bytes() == (here / name).read_bytes() for name in names)


# Unmodified clients


def test_hf_xet_downloads_every_size(hub: HubServer, folder: Path, tmp_path: Path) -> None:
    names = [f"{name}.safetensors" for name in SIZES]
    done = fetch(hub, tmp_path, *names)
    assert done.returncode == 0, done.stderr
    for name, path in zip(names, done.stdout.split(), strict=True):
        assert Path(path).read_bytes() == (folder / "acme/one" / name).read_bytes()
    assert hub.counts.tokens == 1  # one for all files of a revision


def test_a_snapshot_comes_through_xet(hub: HubServer, folder: Path, tmp_path: Path) -> None:
    done = fetch(hub, tmp_path)
    assert done.returncode == 0, done.stderr
    assert same(Path(done.stdout.strip()), folder / "acme/one")
    assert hub.counts.tokens == 1


def test_a_snapshot_comes_without_xet(hub: HubServer, folder: Path, tmp_path: Path) -> None:
    done = fetch(hub, tmp_path, HF_HUB_DISABLE_XET="1")
    assert done.returncode == 0, done.stderr
    assert same(Path(done.stdout.strip()), folder / "acme/one")
    assert hub.counts.tokens == 0


@pytest.mark.parametrize("xet", [True, False])
def test_the_hf_command_downloads_a_repo(hub: HubServer, folder: Path, tmp_path: Path, xet: bool) -> None:
    command = [str(Path(sys.executable).with_name("hf")), "download", "acme/one", "--local-dir", str(tmp_path / "got")]
    off = {} if xet else {"HF_HUB_DISABLE_XET": "1"}
    done = run(command, tmp_path / "home", HF_ENDPOINT=hub.endpoint, **off)
    assert done.returncode == 0, done.stderr
    assert same(tmp_path / "got", folder / "acme/one")
    assert hub.counts.tokens == int(xet)


def test_a_generated_hub_serves_weights_through_xet(tmp_path: Path) -> None:
    shelf = GeneratedShelf(5, "bench/llama", ranks=(8,))
    repo = "maker-004/lora-000004"
    with serve_in_thread(shelf) as hub:
        command = [sys.executable, "-c", FETCH, hub.endpoint, str(tmp_path / "c"), repo, "adapter_model.safetensors"]
        done = run(command, tmp_path / "home")
        plain = httpx2.get(f"{hub.endpoint}/{repo}/resolve/main/adapter_model.safetensors", follow_redirects=True)
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()).read_bytes() == plain.content
    assert hub.counts.tokens == 1


# Refusals


@pytest.mark.parametrize("status", [401, 403, 500, 0])
def test_a_storage_that_refuses_fails_the_download(hub: HubServer, tmp_path: Path, status: int) -> None:
    hub.set_faults(Faults(xet_refused=1.0, xet_status=status))
    done = fetch(hub, tmp_path, "one.safetensors", HF_XET_CLIENT_RETRY_MAX_ATTEMPTS="1")
    assert done.returncode == 1
    assert hub.counts.faults["xet_refused"] > 0
    assert not list((tmp_path / "cache").rglob("snapshots/*/*"))


def test_a_storage_where_nobody_answers_fails_the_download(folder: Path, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: connections are refused
        dead = f"http://127.0.0.1:{taken.getsockname()[1]}"
        with serve_in_thread(folder, likeness=Likeness(cas_url=dead)) as hub:
            done = fetch(hub, tmp_path, "one.safetensors", HF_XET_CLIENT_RETRY_MAX_ATTEMPTS="1")
            link = httpx2.head(f"{hub.endpoint}/acme/one/resolve/main/one.safetensors").headers["link"]
    assert done.returncode == 1
    assert f"<{dead}/v1/reconstructions/" in link


def test_a_refusing_storage_leaves_the_plain_way_open(hub: HubServer, tmp_path: Path) -> None:
    hub.set_faults(Faults(xet_refused=1.0))
    done = fetch(hub, tmp_path, "one.safetensors", HF_HUB_DISABLE_XET="1")
    assert done.returncode == 0, done.stderr


# The token and the storage on the wire


def token_of(hub: HubServer) -> tuple[httpx2.Response, dict[str, str]]:
    answer = httpx2.get(f"{hub.endpoint}/api/models/acme/one/xet-read-token/main")
    return answer, {"Authorization": f"Bearer {answer.json()['accessToken']}"}


def hash_of(hub: HubServer, name: str) -> str:
    return httpx2.head(f"{hub.endpoint}/acme/one/resolve/main/{name}.safetensors").headers["x-xet-hash"]


def test_a_token_is_told_twice_and_costs_an_api_call(hub: HubServer) -> None:
    answer, _ = token_of(hub)
    told, headers = answer.json(), answer.headers
    assert sorted(told) == ["accessToken", "casUrl", "exp"]
    assert [headers[f"x-xet-{name}"] for name in ("access-token", "cas-url", "token-expiration")] == [
        told["accessToken"],
        told["casUrl"],
        str(told["exp"]),
    ]
    assert headers["ratelimit"] == '"api";r=499;t=300'


def test_both_versions_tell_the_same(hub: HubServer, folder: Path) -> None:
    answer, permit = token_of(hub)
    cas, name = answer.json()["casUrl"], hash_of(hub, "xorbs")
    asked = {**permit, "Range": f"bytes={XORB_BYTES - 5}-{XORB_BYTES + 4}"}
    first, second = (httpx2.get(f"{cas}/{v}/reconstructions/{name}", headers=asked).json() for v in ("v1", "v2"))
    got = b""
    for term in second["terms"]:
        fetch = second["xorbs"][term["hash"]][0]
        place = fetch["ranges"][0]["bytes"]
        piece = httpx2.get(fetch["url"], headers={"Range": f"bytes={place['start']}-{place['end']}"})
        assert piece.status_code == 206
        assert piece.content[:8] == b"\0\0\0\1\0\0\0\1"[: len(piece.content)]  # a chunk of 64 KiB, as it is
        got += piece.content[8:]
    begin = second["offset_into_first_range"]
    assert (
        got[begin : begin + 10] == (folder / "acme/one/xorbs.safetensors").read_bytes()[XORB_BYTES - 5 : XORB_BYTES + 5]
    )
    assert (first["terms"], first["offset_into_first_range"]) == (second["terms"], begin)
    assert [fetches[0]["url"] for fetches in first["fetch_info"].values()] == [
        fetches[0]["url"] for fetches in second["xorbs"].values()
    ]


def test_the_storage_refuses_what_no_permit_opens(hub: HubServer) -> None:
    answer, permit = token_of(hub)
    cas, name = answer.json()["casUrl"], hash_of(hub, "one")
    at = f"{cas}/v2/reconstructions/{name}"
    xorb = next(iter(httpx2.get(at, headers=permit).json()["xorbs"].values()))[0]["url"]
    forged = {"Authorization": permit["Authorization"][:-1] + "x"}
    asked = [
        (at, {}),
        (at, forged),
        (f"{cas}/v2/reconstructions/{'0' * 64}", permit),
        (at, {**permit, "Range": "bytes=1-5"}),
        (at, {**permit, "Range": "bytes=x"}),
        (f"{cas}/v9/reconstructions/{name}", permit),
        (xorb.partition("?")[0], {}),
        (xorb.replace("/0?", "/1?"), {}),
        (xorb.replace("/0?", f"/{'9' * 5000}?"), {}),
    ]
    assert [httpx2.get(url, headers=headers).status_code for url, headers in asked] == [
        401,
        401,
        404,
        416,
        400,
        404,
        401,
        404,
        404,
    ]


def test_a_permit_ends() -> None:
    now = 1000.0
    signer = Signer(lambda: now)
    token, expires = signer.permit("acme/one", "0" * 40)
    assert signer.permitted(token) == ("acme/one", "0" * 40)
    now = expires + 1
    assert signer.permitted(token) is None
    assert Signer().permitted(token) is None


@pytest.mark.parametrize("size", [1, CHUNK_BYTES - 1, CHUNK_BYTES, 3 * CHUNK_BYTES + 5])
def test_a_xorb_read_in_pieces_is_the_xorb(size: int) -> None:
    xorb = Xorb(Text(random.Random(size).randbytes(size)), 0)

    def read(step: int) -> bytes:
        pieces, at = [], 0
        while at < xorb.size:
            pieces.append(xorb.read(at, min(xorb.size, at + step)))
            at += len(pieces[-1])
        return b"".join(pieces)

    whole = read(xorb.size)
    assert [read(step) == whole for step in (1009, 5, CHUNK_BYTES)] == [True] * 3
    assert len(whole) == xorb.size == size + 8 * -(-size // CHUNK_BYTES)


def test_a_reconstruction_covers_every_byte() -> None:
    size = 3 * XORB_BYTES + 12_345
    told = reconstruction(lfs_file("x", size, "0" * 64), 0, size, str)
    assert sum(term["unpacked_length"] for term in told["terms"]) == size
    assert len(told["terms"]) == xorbs_of(size) == 4
