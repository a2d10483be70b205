"""A small hub of nine repos: how one of its adapters is written, and a bare request to it."""

from __future__ import annotations

import json
from pathlib import Path

import httpx2
import numpy as np
from safetensors.numpy import save_file

from flows.mirror.server import HubServer

BASE = "acme/tiny-llama"
ADAPTER_TAG = f"base_model:adapter:{BASE}"


def add_adapter(folder: Path, repo: str, day: int = 1, **sidecar: object) -> Path:
    """A repo with an adapter of random weights, a card and a sidecar; returns its folder."""
    root = folder / repo
    root.mkdir(parents=True)
    weights = np.random.default_rng(sum(repo.encode())).normal(size=(4, 16)).astype(np.float32)
    save_file({"layers.0.q_proj.lora_A.weight": weights}, root / "adapter_model.safetensors")
    config = {"peft_type": "LORA", "task_type": "CAUSAL_LM", "base_model_name_or_path": BASE}
    (root / "adapter_config.json").write_text(json.dumps(config))
    (root / "README.md").write_text(f"---\nbase_model: {BASE}\nlibrary_name: peft\nlicense: mit\n---\n# Card\n")
    about = {"lastModified": f"2026-01-{day:02d}T00:00:00Z", "downloads": day * 10, **sidecar}
    (root / ".hub.json").write_text(json.dumps(about))
    return root


def get(hub: HubServer, path: str, **headers: str) -> httpx2.Response:
    """A request that no well-meaning client would send: the path goes out as it is written."""
    return httpx2.get(hub.endpoint + path, headers=headers, follow_redirects=True)
