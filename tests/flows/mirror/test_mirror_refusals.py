"""What the mirror refuses: to whom, in the client's own errors; and hostile requests, folders and cards."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
from huggingface_hub import HfApi, hf_hub_download
from huggingface_hub.errors import (
    DisabledRepoError,
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from catalog.adapters.front_matter import front_matter
from flows.mirror.server import HubServer, serve_in_thread
from tests.flows.mirror.club import add_adapter, get


def test_a_missing_repo_file_and_revision_are_the_clients_own_errors(api: HfApi) -> None:
    assert not api.repo_exists("acme/nothing", token="hf_stranger")
    assert not api.file_exists("acme/one", "nothing.json")
    with pytest.raises(RepositoryNotFoundError):
        api.model_info("acme/nothing", token="hf_stranger")
    with pytest.raises(RevisionNotFoundError):
        api.model_info("acme/one", revision="0" * 40)
    with pytest.raises(EntryNotFoundError):
        api.parse_safetensors_file_metadata("acme/one", "nothing.safetensors")


def test_a_missing_repo_is_401_without_a_token_and_404_with_one(hub: HubServer) -> None:
    told = [
        get(hub, "/api/models/acme/nothing", **headers).status_code
        for headers in ({}, {"Authorization": "Bearer hf_stranger"})
    ]
    assert told == [401, 404]


def test_a_private_repo_is_there_for_its_owner_only(hub: HubServer, api: HfApi) -> None:
    assert api.model_info("acme/secret", token="hf_owner").private is True
    assert "acme/secret" in [model.id for model in api.list_models(token="hf_owner")]
    assert "acme/secret" not in [model.id for model in api.list_models(token="hf_stranger")]
    with pytest.raises(RepositoryNotFoundError):
        api.model_info("acme/secret", token="hf_stranger")
    assert get(hub, "/api/models/acme/secret").status_code == 401


def test_a_gated_repo_shows_its_page_and_keeps_its_files(hub: HubServer, api: HfApi, tmp_path: Path) -> None:
    assert api.model_info("acme/gated").gated == "manual"
    for token, status in ((False, 401), ("hf_stranger", 403)):
        with pytest.raises(GatedRepoError) as refused:
            api.parse_safetensors_file_metadata("acme/gated", "adapter_model.safetensors", token=token)
        assert refused.value.response.status_code == status
    assert hf_hub_download("acme/gated", "README.md", endpoint=hub.endpoint, cache_dir=tmp_path, token="hf_owner")


def test_a_disabled_repo_serves_no_file(api: HfApi) -> None:
    with pytest.raises(DisabledRepoError):
        api.parse_safetensors_file_metadata("acme/disabled", "adapter_model.safetensors")


def test_a_wrong_token_is_refused_everywhere(api: HfApi) -> None:
    with pytest.raises(HfHubHTTPError) as refused:
        api.model_info("acme/one", token="hf_wrong")
    assert refused.value.response.status_code == 401


def test_whoami_names_the_token(api: HfApi) -> None:
    told = api.whoami(token="hf_stranger")
    assert (told["name"], told["isPro"], told["orgs"][0]["name"]) == ("stranger", True, "club")


def test_a_broken_sidecar_closes_the_repo(tmp_path: Path) -> None:
    add_adapter(tmp_path, "acme/open")
    (add_adapter(tmp_path, "acme/closed") / ".hub.json").write_text('{"private": tru')
    with serve_in_thread(tmp_path) as hub:
        assert [row["id"] for row in get(hub, "/api/models").json()] == ["acme/open"]


@pytest.mark.parametrize(
    "trick",
    [
        "../../../secret.txt",
        "..%2f..%2f..%2fsecret.txt",
        "%2e%2e/%2e%2e/secret.txt",
        "..%252f..%252fsecret.txt",
        "..%5c..%5csecret.txt",
        "%2fetc%2fpasswd",
        "/etc/passwd",
        "README.md%00.txt",
        "notes/../README.md",
        "./README.md",
        ".hub.json",
        "out.txt",
        "out/secret.txt",
        "%0aREADME.md",
    ],
)
def test_path_tricks_find_no_entry(tmp_path: Path, trick: str) -> None:
    (tmp_path / "secret.txt").write_text("top secret")
    root = add_adapter(tmp_path / "hub", "acme/one")
    (root / "out.txt").symlink_to(tmp_path / "secret.txt")
    (root / "out").symlink_to(tmp_path)
    with serve_in_thread(tmp_path / "hub") as hub:
        answer = raw_get(hub, f"/acme/one/resolve/main/{trick}")
    assert answer.startswith(b"HTTP/1.1 404 ")
    assert b"secret" not in answer.lower()


def raw_get(hub: HubServer, target: str) -> bytes:
    """A request over a bare socket: HTTP clients tidy paths up before they send them."""
    host, _, port = hub.endpoint.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=5) as wire:
        wire.sendall(f"GET {target} HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n\r\n".encode())
        return b"".join(iter(lambda: wire.recv(65536), b""))


def test_symlinks_are_no_part_of_a_repo(tmp_path: Path) -> None:
    real = add_adapter(tmp_path / "elsewhere", "acme/real")
    root = add_adapter(tmp_path / "hub", "acme/one")
    (root / "linked.json").symlink_to(real / "adapter_config.json")
    (tmp_path / "hub/acme/linked").symlink_to(real)
    (tmp_path / "hub/other").symlink_to(tmp_path / "elsewhere/acme")
    with serve_in_thread(tmp_path / "hub") as hub:
        rows = get(hub, "/api/models?full=true").json()
    assert [(row["id"], len(row["siblings"])) for row in rows] == [("acme/one", 3)]


def test_names_that_are_no_text_are_left_out(tmp_path: Path) -> None:
    root = add_adapter(tmp_path, "acme/one")
    (root / os.fsdecode(b"caf\xe9.txt")).write_text("latin-1")
    (root / "red\x1b[31m\n.txt").write_text("listed, for the crawler to judge")
    with serve_in_thread(tmp_path) as hub:
        names = [file["rfilename"] for file in get(hub, "/api/models/acme/one").json()["siblings"]]
    assert names == ["README.md", "adapter_config.json", "adapter_model.safetensors", "red\x1b[31m\n.txt"]


def test_a_foreign_host_name_is_not_answered(hub: HubServer) -> None:
    assert get(hub, "/api/models", Host="evil.example").status_code == 400


@pytest.mark.parametrize(
    "front",
    [
        "a: &a [x]\nb: [*a, *a]",
        "- not\n- a mapping",
        "a: [",
        "a: " + "[" * 5000,
        "!!python/object:os.system {}",
    ],
)
def test_a_hostile_card_reads_as_none(front: str) -> None:
    assert front_matter(f"---\n{front}\n---\n") == {}
