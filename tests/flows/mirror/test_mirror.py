"""The mirror, asked by the unmodified huggingface_hub client over loopback."""

from __future__ import annotations

import hashlib
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import httpx2
import numpy as np
import pytest
from huggingface_hub import HfApi, hf_hub_download, snapshot_download
from huggingface_hub.errors import (
    DisabledRepoError,
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from safetensors.numpy import save_file

from catalog.errors import SettingError
from flows.mirror.accounts import Account
from flows.mirror.card import read_card
from flows.mirror.server import HubServer, serve, serve_in_thread

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


def get(hub: HubServer, path: str, **headers: str) -> httpx2.Response:
    """A request that no well-meaning client would send: the path goes out as it is written."""
    return httpx2.get(hub.endpoint + path, headers=headers, follow_redirects=True)


def fetch(hub: HubServer, name: str, sha: str | None, cache: Path) -> Path:
    return Path(hf_hub_download("acme/one", name, revision=sha, endpoint=hub.endpoint, cache_dir=cache, token=False))


# Listing


def test_a_listing_keeps_to_all_filters_and_sorts_newest_first(api: HfApi) -> None:
    found = api.list_models(filter=["peft", ADAPTER_TAG], sort="last_modified")
    assert [model.id for model in found] == ["bolt/five", "bolt/four", "bolt/three", "acme/two", "acme/one"]


def test_a_listing_follows_its_pages_to_the_end(hub: HubServer, api: HfApi) -> None:
    before = hub.counts.api
    found = list(api.list_models(author="bolt", sort="downloads", limit=None))
    link = get(hub, "/api/models?author=bolt&sort=downloads&limit=2").links["next"]["url"]
    rest = httpx2.get(link)
    assert [model.id for model in found] == ["bolt/five", "bolt/four", "bolt/three"]
    assert [row["id"] for row in rest.json()] == ["bolt/three"]
    assert "next" not in rest.links
    assert hub.counts.api - before == 3


def test_a_page_holds_at_most_a_thousand_repos(tmp_path: Path) -> None:
    for number in range(1001):
        root = tmp_path / "many" / f"r{number:04}"
        root.mkdir(parents=True)
        (root / "x.txt").touch()
    with serve_in_thread(tmp_path) as many:
        page = get(many, "/api/models?limit=5000")
        everything = list(HfApi(endpoint=many.endpoint, token=False).list_models())
    assert (len(page.json()), "next" in page.links, len(everything)) == (1000, True, 1001)


def test_a_listing_names_only_what_is_expanded(hub: HubServer) -> None:
    rows = get(hub, "/api/models?search=ONE&expand=sha&expand=downloads&expand[]=tags").json()
    assert [sorted(row) for row in rows] == [["_id", "downloads", "id", "sha", "tags"]]


def test_a_listing_refuses_to_expand_what_only_a_page_tells(hub: HubServer) -> None:
    for name in ("baseModels", "childrenModelCount", "usedStorage"):
        listing, page = (get(hub, f"/api/models{at}?expand={name}") for at in ("", "/acme/one"))
        assert (listing.status_code, page.status_code) == (400, 200)
        assert listing.json()["error"].startswith('"expand" must be one of [author, cardData, config,')
        assert name not in listing.json()["error"]


def test_a_page_expands_its_bases_and_counts_its_children(hub: HubServer) -> None:
    one = get(hub, "/api/models/acme/one?expand=baseModels&expand=childrenModelCount").json()
    base = get(hub, f"/api/models/{BASE}?expand=baseModels&expand=childrenModelCount&expand=sha").json()
    none = {"adapter": 0, "finetune": 0, "merge": 0, "quantized": 0}
    assert one["baseModels"] == {"relation": "adapter", "models": [{"_id": base["_id"], "id": BASE}]}
    assert (one["childrenModelCount"], base["childrenModelCount"]) == (none, none | {"adapter": 5})
    assert "baseModels" not in base


@pytest.mark.parametrize(
    "query",
    ["limit=0", "limit=x", "sort=name", "expand=secrets", "cursor=%00", "cursor=WyJsaWtlcyIsMCwiYSJd"],
)
def test_a_wrong_query_is_a_bad_request(hub: HubServer, query: str) -> None:
    assert get(hub, f"/api/models?{query}").status_code == 400


# One model


def test_a_model_tells_what_its_card_and_sidecar_say(api: HfApi) -> None:
    model = api.model_info("acme/two", expand=["tags", "downloads", "config", "library_name", "lastModified"])
    assert model.tags == [
        "peft",
        "safetensors",
        f"base_model:{BASE}",
        ADAPTER_TAG,
        "license:mit",
        "region:us",
    ]
    assert model.config == {"peft": {"base_model_name_or_path": BASE, "task_type": "CAUSAL_LM"}}
    assert (model.downloads, model.library_name) == (20, "peft")
    assert model.last_modified
    assert model.last_modified.isoformat() == "2026-01-02T00:00:00+00:00"


def test_a_model_lists_its_files_with_sizes_and_hashes(folder: Path, api: HfApi) -> None:
    model = api.model_info("acme/two", files_metadata=True)
    weights = (folder / "acme/two/adapter_model.safetensors").read_bytes()
    files = {file.rfilename: file for file in model.siblings or []}
    lfs = files["adapter_model.safetensors"].lfs
    assert sorted(files) == ["README.md", "adapter_config.json", "adapter_model.safetensors"]
    assert lfs
    assert (lfs.size, lfs.sha256) == (len(weights), hashlib.sha256(weights).hexdigest())
    assert files["README.md"].lfs is None


def test_a_commit_is_a_function_of_the_files(tmp_path: Path) -> None:
    first, twin = (add_adapter(tmp_path / name, "acme/one") for name in ("a", "b"))
    with serve_in_thread(tmp_path / "a") as one, serve_in_thread(tmp_path / "b") as other:
        sha, twin_sha = (HfApi(endpoint=h.endpoint, token=False).model_info("acme/one").sha for h in (one, other))
        (first / "new.txt").write_text("more")
        changed = HfApi(endpoint=one.endpoint, token=False).model_info("acme/one").sha
    assert twin.is_dir()
    assert sha == twin_sha
    assert sha != changed


def test_main_its_ref_and_its_sha_are_one_revision(api: HfApi) -> None:
    branches = api.list_repo_refs("acme/one", include_pull_requests=True)
    sha = branches.branches[0].target_commit
    asked = [api.model_info("acme/one", revision=name).sha for name in ("main", "refs/heads/main", sha)]
    assert asked == [sha, sha, sha]
    assert [(ref.name, ref.ref) for ref in branches.branches] == [("main", "refs/heads/main")]


def test_a_tree_lists_a_folder_or_everything_below(api: HfApi) -> None:
    top = [entry.path for entry in api.list_repo_tree("acme/one")]
    below = [entry.path for entry in api.list_repo_tree("acme/one", "notes", recursive=True, expand=True)]
    assert top == ["README.md", "adapter_config.json", "adapter_model.safetensors", "notes"]
    assert below == ["notes/read me #1?.txt"]


def test_paths_info_knows_files_and_folders_and_skips_the_rest(api: HfApi) -> None:
    found = api.get_paths_info("acme/one", ["notes", "README.md", "missing", "../../secret"])
    assert [(type(entry).__name__, entry.path) for entry in found] == [
        ("RepoFolder", "notes"),
        ("RepoFile", "README.md"),
    ]


def test_a_header_is_parsed_from_a_ranged_read(hub: HubServer, api: HfApi) -> None:
    before = hub.counts.resolvers
    header = api.parse_safetensors_file_metadata("acme/one", "adapter_model.safetensors")
    shapes = {name: (tensor.dtype, tensor.shape) for name, tensor in header.tensors.items()}
    assert shapes == {"layers.0.q_proj.lora_A.weight": ("F32", [4, 16])}
    assert hub.counts.resolvers - before == 1


# Files


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


# Refusals


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


# Hostile requests and folders


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
    assert read_card(f"---\n{front}\n---\n") == {}


def test_a_card_becomes_plain_json() -> None:
    assert read_card("---\nday: 2026-01-02\nnan: .nan\n1: true\n---\n") == {
        "day": "2026-01-02",
        "nan": "nan",
        "1": True,
    }


def test_the_base_comes_from_the_config_where_the_card_names_none(tmp_path: Path) -> None:
    (add_adapter(tmp_path, "acme/one") / "README.md").unlink()
    with serve_in_thread(tmp_path) as hub:
        row = get(hub, "/api/models/acme/one?expand=tags").json()
    assert row["tags"] == ["peft", "safetensors", f"base_model:{BASE}", ADAPTER_TAG, "region:us"]


# Starting


def test_a_missing_or_empty_folder_and_a_taken_port_say_what_to_do(tmp_path: Path, hub: HubServer) -> None:
    (tmp_path / "empty").mkdir()
    taken = int(hub.endpoint.rpartition(":")[2])
    for folder, port, cause in (
        (tmp_path / "none", 0, "There is no folder"),
        (tmp_path / "empty", 0, "holds no repos"),
        (hub.shelf.folder, taken, "cannot listen on"),
    ):
        with pytest.raises(SettingError, match=cause) as error:
            serve(folder, "127.0.0.1", port, print)
        assert error.value.next_step
