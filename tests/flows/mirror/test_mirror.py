"""The mirror, asked by the unmodified huggingface_hub client over loopback: listings, models, and its start."""

from __future__ import annotations

import hashlib
from pathlib import Path

import httpx2
import pytest
from huggingface_hub import HfApi

from catalog.adapters.front_matter import front_matter
from catalog.errors import SettingError
from flows.mirror.server import HubServer, serve, serve_in_thread
from tests.flows.mirror.club import ADAPTER_TAG, BASE, add_adapter, get


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


def test_a_card_becomes_plain_json() -> None:
    assert front_matter("---\nday: 2026-01-02\nnan: .nan\n1: true\n---\n") == {
        "day": "2026-01-02",
        "nan": "nan",
        "1": True,
    }


def test_the_base_comes_from_the_config_where_the_card_names_none(tmp_path: Path) -> None:
    (add_adapter(tmp_path, "acme/one") / "README.md").unlink()
    with serve_in_thread(tmp_path) as hub:
        row = get(hub, "/api/models/acme/one?expand=tags").json()
    assert row["tags"] == ["peft", "safetensors", f"base_model:{BASE}", ADAPTER_TAG, "region:us"]


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
