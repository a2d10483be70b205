"""The mirror, asked by the unmodified JavaScript client of the Hub."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from pathlib import Path

import httpx2
import numpy as np
import pytest
from safetensors.numpy import save_file

from flows.mirror.server import serve_in_thread

CLIENT = "@huggingface/hub@2.17.5"
SCRIPT = Path(__file__).parent / "npm" / "check.mjs"
BASE = "acme/tiny-llama"
CARD = f"---\nbase_model: {BASE}\nlibrary_name: peft\nlicense: mit\n---\n# Card\n"
TENSOR = "layers.0.q_proj.lora_A.weight"


@pytest.fixture(scope="module")
def npm(request: pytest.FixtureRequest) -> Path:
    """A folder with the client and the script, kept from run to run; skips where there is no Node or no network."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("Node and npm are not installed")
    folder = Path(request.config.cache.mkdir("mirror-npm"))
    if not (folder / "node_modules/@huggingface/hub/package.json").is_file():
        (folder / "package.json").write_text('{"private": true}')
        options = ["--no-audit", "--no-fund", "--omit=optional", "--ignore-scripts", "--fetch-retries=0"]
        done = subprocess.run(["npm", "install", *options, CLIENT], cwd=folder, capture_output=True, check=False)
        if done.returncode:
            pytest.skip(f"npm could not install {CLIENT}: no network?")
    shutil.copy(SCRIPT, folder)
    return folder


def add_adapter(folder: Path, repo: str, **sidecar: object) -> Path:
    root = folder / repo
    (root / "notes").mkdir(parents=True)
    save_file({TENSOR: np.arange(64, dtype=np.float32).reshape(4, 16)}, root / "adapter_model.safetensors")
    config = {"peft_type": "LORA", "task_type": "CAUSAL_LM", "base_model_name_or_path": BASE}
    (root / "adapter_config.json").write_text(json.dumps(config))
    (root / "README.md").write_text(CARD)
    (root / "notes/a b.txt").write_text("small\n")
    (root / ".hub.json").write_text(json.dumps(sidecar))
    return root


def git_oid(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def lfs_pointer(content: bytes) -> bytes:
    sha256 = hashlib.sha256(content).hexdigest()
    return f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {len(content)}\n".encode()


def told(root: Path, name: str, xet: str = "") -> dict[str, object]:
    """A file as `tree` and `paths-info` should tell of it."""
    content = (root / name).read_bytes()
    if not name.endswith(".safetensors"):
        return {"type": "file", "oid": git_oid(content), "size": len(content), "path": name}
    sha256 = hashlib.sha256(content).hexdigest()
    pointer = lfs_pointer(content)
    lfs = {"oid": sha256, "size": len(content), "pointerSize": len(pointer)}
    return {"type": "file", "oid": git_oid(pointer), "size": len(content), "path": name, "lfs": lfs, "xetHash": xet}


def test_the_javascript_client_reads_all_it_asks_for(npm: Path, tmp_path: Path) -> None:
    root = add_adapter(
        tmp_path, "acme/one", downloads=7, likes=2, lastModified="2026-01-02T00:00:00Z", formerly=["acme/uno"]
    )
    add_adapter(tmp_path, "acme/two", downloads=9, lastModified="2026-01-01T00:00:00Z")
    add_adapter(tmp_path, "acme/gated", gated="manual", tags=[])
    weights = (root / "adapter_model.safetensors").read_bytes()
    with serve_in_thread(tmp_path) as hub:
        command = ["node", "check.mjs", hub.endpoint, "acme", "acme/one", "acme/uno"]
        done = subprocess.run(command, cwd=npm, capture_output=True, text=True, check=False, timeout=50)
        tokens = hub.counts.tokens
        xet = httpx2.head(f"{hub.endpoint}/acme/one/resolve/main/adapter_model.safetensors").headers["x-xet-hash"]
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    one = {
        "id": hashlib.sha1(b"acme/uno").hexdigest()[:24],
        "name": "acme/one",
        "private": False,
        "downloads": 7,
        "gated": False,
        "likes": 2,
        "updatedAt": "2026-01-02T00:00:00.000Z",
        "sha": found["model"]["sha"],
        "tags": [
            "peft",
            "safetensors",
            f"base_model:{BASE}",
            f"base_model:adapter:{BASE}",
            "license:mit",
            "region:us",
        ],
        "library_name": "peft",
    }
    names = ["README.md", "adapter_config.json", "adapter_model.safetensors"]
    notes = next(entry for entry in found["files"] if entry["type"] == "directory")
    assert (found["model"], found["models"][0]) == (one, one)
    assert [model["name"] for model in found["models"]] == ["acme/one", "acme/two"]
    assert (found["two"], found["renamed"]) == (["acme/two", "acme/one"], "acme/one")
    assert found["top"] == [*(["file", name] for name in names), ["directory", "notes"]]
    assert found["files"] == [*(told(root, name, xet) for name in names), notes, told(root, "notes/a b.txt")]
    assert found["paths"] == [told(root, "README.md"), told(root, "adapter_model.safetensors", xet), notes]
    assert (found["card"], found["size"]) == (CARD, [len(weights)] * 3)
    assert (found["etag"], found["piece"]) == (f'"{hashlib.sha256(weights).hexdigest()}"', weights[8:24].decode())
    assert found["pointer"] == lfs_pointer(weights).decode()
    assert found["metadata"] == {
        "sharded": False,
        "header": {TENSOR: {"dtype": "F32", "shape": [4, 16], "data_offsets": [0, 256]}},
        "filepaths": ["adapter_model.safetensors"],
    }
    assert tokens  # it took the weights through Xet
    assert (found["exists"], found["missing"], found["refused"]) == ([True, False], None, [401, 401])
