"""`lorauter.load` finds the snapshot's encoder, whole, however an earlier download ended."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import lorauter
from catalog.hub import client as catalog_hub
from catalog.hub.client import Hub, HubOptions
from catalog.hub.models import fetch_model, fetch_tokenizer, is_here, is_whole
from warehouse.snapshots.snapshot import current_snapshot

ENCODER = "sentence-transformers/all-MiniLM-L6-v2"


@pytest.fixture
def snapshot(refreshed: Path, tmp_path: Path) -> Path:
    """A published snapshot in a home of its own."""
    home = shutil.copytree(refreshed, tmp_path / "home", symlinks=True)
    return current_snapshot(home / "snapshots").folder


def encoder_of(snapshot: Path) -> Path:
    """Where the home keeps the encoder."""
    commits = snapshot.parent.parent / "hub" / f"models--{ENCODER.replace('/', '--')}" / "snapshots"
    return next(commits.iterdir())


def kill_download(folder: Path) -> None:
    """What a kill leaves: the small files are here, the weights and the marker are not."""
    (folder / ".whole").unlink()
    (folder / "model.safetensors").resolve().unlink()
    (folder / "model.safetensors").unlink()


def test_a_killed_download_of_the_encoder_is_taken_up_again(
    snapshot: Path, tiny_hub: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalog_hub, "PUBLIC_ENDPOINT", tiny_hub)
    kill_download(encoder_of(snapshot))

    router = lorauter.load(snapshot)

    assert [len(route.tasks) for route in router.route(["What colour is the cat?"])] == [3]
    assert is_whole(encoder_of(snapshot))


def test_an_encoder_that_lies_there_without_our_marker_is_used_where_no_hub_answers(
    snapshot: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalog_hub, "PUBLIC_ENDPOINT", "http://127.0.0.1:9")
    (encoder_of(snapshot) / ".whole").unlink()

    router = lorauter.load(snapshot)

    assert [len(route.tasks) for route in router.route(["What colour is the cat?"])] == [3]


def test_a_model_is_whole_until_a_file_of_it_has_gone(tmp_path: Path, tiny_hub: str) -> None:
    hub = Hub(HubOptions(tiny_hub, tmp_path))
    sha, _ = hub.repo_files(ENCODER)
    assert not is_here(tmp_path, ENCODER)
    folder = fetch_model(hub, ENCODER, sha)
    assert (is_whole(folder), is_here(tmp_path, ENCODER)) == (True, True)

    hub.forget(ENCODER, "model.safetensors", sha)

    assert (is_whole(folder), is_here(tmp_path, ENCODER)) == (False, False)
    assert (fetch_model(hub, ENCODER, sha) / "model.safetensors").stat().st_size > 1_000_000


def test_a_tokenizer_comes_without_the_weights_once_and_is_no_whole_model(tmp_path: Path, tiny_hub: str) -> None:
    hub = Hub(HubOptions(tiny_hub, tmp_path))
    sha, _ = hub.repo_files(ENCODER)

    folder = fetch_tokenizer(hub, ENCODER, sha)

    names = {path.name for path in folder.iterdir()}
    assert ("tokenizer.json" in names, "model.safetensors" in names, is_whole(folder)) == (True, False, False)
    nobody = Hub(HubOptions("http://127.0.0.1:9", tmp_path))
    assert fetch_tokenizer(nobody, ENCODER, sha) == folder


def test_a_marker_of_an_older_version_still_tells_a_whole_model(tmp_path: Path) -> None:
    (tmp_path / ".whole").touch()

    assert is_whole(tmp_path)
