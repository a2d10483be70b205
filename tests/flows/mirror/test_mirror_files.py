"""Files of the mirror, asked by the unmodified huggingface_hub client and on the wire."""

from __future__ import annotations

import hashlib
from pathlib import Path

import httpx2
import pytest
from huggingface_hub import HfApi, hf_hub_download, snapshot_download

from flows.mirror.server import HubServer
from tests.flows.mirror.club import get


def fetch(hub: HubServer, name: str, sha: str | None, cache: Path) -> Path:
    return Path(hf_hub_download("acme/one", name, revision=sha, endpoint=hub.endpoint, cache_dir=cache, token=False))


def test_a_header_is_parsed_from_a_ranged_read(hub: HubServer, api: HfApi) -> None:
    before = hub.counts.resolvers
    header = api.parse_safetensors_file_metadata("acme/one", "adapter_model.safetensors")
    shapes = {name: (tensor.dtype, tensor.shape) for name, tensor in header.tensors.items()}
    assert shapes == {"layers.0.q_proj.lora_A.weight": ("F32", [4, 16])}
    assert hub.counts.resolvers - before == 1


@pytest.mark.parametrize("name", ["adapter_model.safetensors", "README.md", "notes/read me #1?.txt"])
def test_a_downloaded_commit_is_never_asked_for_again(
    hub: HubServer, api: HfApi, folder: Path, tmp_path: Path, name: str
) -> None:
    sha = api.model_info("acme/one").sha
    first = fetch(hub, name, sha, tmp_path)
    served = (hub.counts.api, hub.counts.resolvers)
    again = fetch(hub, name, sha, tmp_path)
    assert first.read_bytes() == (folder / "acme/one" / name).read_bytes()
    assert (again, (hub.counts.api, hub.counts.resolvers)) == (first, served)


def test_a_snapshot_holds_every_file_but_the_sidecar(hub: HubServer, tmp_path: Path) -> None:
    root = Path(snapshot_download("acme/one", endpoint=hub.endpoint, cache_dir=tmp_path, token=False))
    names = sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())
    assert names == ["README.md", "adapter_config.json", "adapter_model.safetensors", "notes/read me #1?.txt"]


def test_a_large_file_is_redirected_to_another_origin(hub: HubServer, folder: Path) -> None:
    path, ranged = "/acme/one/resolve/main/adapter_model.safetensors", {"Range": "bytes=8-15"}
    weights = (folder / "acme/one/adapter_model.safetensors").read_bytes()
    redirect = httpx2.get(hub.endpoint + path, headers=ranged)
    answer = httpx2.get(redirect.headers["location"], headers=ranged)
    assert redirect.status_code == 302
    assert redirect.headers["location"].startswith(hub.endpoint.replace("127.0.0.1", "localhost") + "/lfs/")
    assert redirect.headers["x-linked-size"] == str(len(weights))
    assert redirect.headers["x-linked-etag"] == f'"{hashlib.sha256(weights).hexdigest()}"'
    assert (answer.status_code, answer.content) == (206, weights[8:16])
    assert answer.headers["content-range"] == f"bytes 8-15/{len(weights)}"


def test_a_range_past_the_end_is_not_satisfiable(hub: HubServer) -> None:
    answer = get(hub, "/acme/one/resolve/main/README.md", Range="bytes=100000-")
    assert (answer.status_code, answer.headers["content-range"][:8]) == (416, "bytes */")


def test_raw_is_what_git_holds(hub: HubServer, folder: Path) -> None:
    card = get(hub, "/acme/one/raw/main/README.md").text
    pointer = get(hub, "/acme/one/raw/main/adapter_model.safetensors").text
    weights = (folder / "acme/one/adapter_model.safetensors").read_bytes()
    assert card == (folder / "acme/one/README.md").read_text()
    assert pointer.splitlines()[1:] == [f"oid sha256:{hashlib.sha256(weights).hexdigest()}", f"size {len(weights)}"]
    assert get(hub, "/acme/gated/raw/main/README.md").status_code == 401


def test_head_tells_the_size_without_the_body(hub: HubServer, folder: Path) -> None:
    path = f"{hub.endpoint}/acme/one/resolve/main/README.md"
    answer = httpx2.head(path, headers={"Accept-Encoding": "identity"}, follow_redirects=True)
    size = (folder / "acme/one/README.md").stat().st_size
    assert (answer.headers["content-length"], answer.content) == (str(size), b"")
    assert len(answer.headers["x-repo-commit"]) == 40


def test_a_forged_storage_address_opens_nothing(hub: HubServer, folder: Path) -> None:
    sha256 = hashlib.sha256((folder / "acme/secret/adapter_model.safetensors").read_bytes()).hexdigest()
    signed = "name=adapter_model.safetensors&Expires=99999999999&Signature=00"
    assert get(hub, f"/lfs/acme/secret/{sha256}?{signed}").status_code == 403
