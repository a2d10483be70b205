"""The small hub, served to one test file after another, and a client of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import HfApi

from flows.mirror.accounts import Account
from flows.mirror.server import HubServer, serve_in_thread
from tests.flows.mirror.club import add_adapter


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hub")
    for day, repo in enumerate(("acme/one", "acme/two", "bolt/three", "bolt/four", "bolt/five"), start=1):
        add_adapter(folder, repo, day)
    extra = folder / "acme/one/notes"
    extra.mkdir()
    (extra / "read me #1?.txt").write_text("small\n")
    add_adapter(folder, "acme/secret", 6, private=True)
    add_adapter(folder, "acme/gated", 7, gated="manual", tags=["gated-tag"])
    add_adapter(folder, "acme/disabled", 8, disabled=True, tags=["disabled-tag"])
    full = folder / "acme/tiny-llama"
    full.mkdir()
    (full / "config.json").write_text('{"model_type": "llama", "architectures": ["LlamaForCausalLM"]}')
    return folder


@pytest.fixture(scope="module")
def hub(folder: Path) -> Iterator[HubServer]:
    tokens = {"hf_owner": Account("acme"), "hf_stranger": Account("stranger", "pro", ("club",))}
    with serve_in_thread(folder, tokens=tokens) as server:
        yield server


@pytest.fixture(scope="module")
def api(hub: HubServer) -> HfApi:
    return HfApi(endpoint=hub.endpoint, token=False)
