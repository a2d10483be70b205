"""A hub that changes while it is asked: renames, removals, and listings of large folders."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import httpx2
import pytest
from huggingface_hub import HfApi, hf_hub_download, snapshot_download

from flows.mirror.repos import FolderShelf
from flows.mirror.server import serve_in_thread

WEIGHTS = bytes(range(256))


def add_repo(folder: Path, repo: str, **sidecar: object) -> Path:
    root = folder / repo
    root.mkdir(parents=True)
    (root / "README.md").write_text("# Card\n")
    (root / "model.safetensors").write_bytes(WEIGHTS)
    (root / ".hub.json").write_text(json.dumps(sidecar))
    return root


def test_an_old_name_leads_to_the_new_one(tmp_path: Path) -> None:
    add_repo(tmp_path, "new/name", formerly=["old/name", "old/second"])
    with serve_in_thread(tmp_path) as hub:
        api = HfApi(endpoint=hub.endpoint, token=False)
        told = [api.model_info(name) for name in ("old/name", "old/second", "new/name")]
        tree = [entry.path for entry in api.list_repo_tree("old/name")]
        paths = [entry.path for entry in api.get_paths_info("old/name", ["README.md"])]
        header = httpx2.get(f"{hub.endpoint}/old/name/resolve/main/README.md", follow_redirects=True)
        file = hf_hub_download(
            "old/name", "model.safetensors", endpoint=hub.endpoint, cache_dir=tmp_path / "cache", token=False
        )
        root = snapshot_download("old/second", endpoint=hub.endpoint, cache_dir=tmp_path / "cache", token=False)
    assert [model.id for model in told] == ["new/name"] * 3
    assert (tree, paths, header.text) == (["README.md", "model.safetensors"], ["README.md"], "# Card\n")
    assert Path(file).read_bytes() == WEIGHTS
    assert sorted(path.name for path in Path(root).iterdir()) == ["README.md", "model.safetensors"]


@pytest.mark.parametrize(
    ("asked", "location"),
    [
        ("/api/models/old/name?expand=sha", "/api/models/new/name?expand=sha"),
        ("/api/models/old/name/tree/main/a%20b?recursive=true", "/api/models/new/name/tree/main/a%20b?recursive=true"),
        ("/api/models/old%2Fname", None),
        ("/old/name/resolve/main/a%20b.txt", "/new/name/resolve/main/a%20b.txt"),
    ],
)
def test_a_redirect_keeps_all_but_the_name(tmp_path: Path, asked: str, location: str | None) -> None:
    add_repo(tmp_path, "new/name", formerly=["old/name"])
    with serve_in_thread(tmp_path) as hub:
        answer = httpx2.get(hub.endpoint + asked)
    if location is None:
        location = "/api/models/new/name"
    assert (answer.status_code, answer.headers["location"]) == (307, location)


def test_a_rename_keeps_the_inner_id(tmp_path: Path) -> None:
    root = add_repo(tmp_path, "old/name")
    with serve_in_thread(tmp_path) as hub:
        before = httpx2.get(f"{hub.endpoint}/api/models/old/name").json()
        (tmp_path / "new").mkdir()
        root.rename(tmp_path / "new/name")
        (tmp_path / "new/name/.hub.json").write_text('{"formerly": ["old/name"]}')
        after = httpx2.get(f"{hub.endpoint}/api/models/old/name", follow_redirects=True).json()
    assert (before["id"], after["id"]) == ("old/name", "new/name")
    assert (before["_id"], before["sha"]) == (after["_id"], after["sha"])


def test_a_name_that_was_taken_again_is_the_new_repos(tmp_path: Path) -> None:
    add_repo(tmp_path, "new/name", formerly=["old/name"])
    add_repo(tmp_path, "old/name")
    with serve_in_thread(tmp_path) as hub:
        assert HfApi(endpoint=hub.endpoint, token=False).model_info("old/name").id == "old/name"


def test_the_new_name_of_a_private_repo_is_told_to_nobody(tmp_path: Path) -> None:
    add_repo(tmp_path, "new/name", formerly=["old/name"], private=True)
    with serve_in_thread(tmp_path) as hub:
        answer = httpx2.get(f"{hub.endpoint}/api/models/old/name")
    assert (answer.status_code, "new/name" in answer.text) == (401, False)


def test_a_removed_repo_is_gone_at_once(tmp_path: Path) -> None:
    add_repo(tmp_path, "acme/stays")
    root = add_repo(tmp_path, "acme/goes")
    with serve_in_thread(tmp_path) as hub:
        api = HfApi(endpoint=hub.endpoint, token=False)
        before = sorted(model.id for model in api.list_models())
        shutil.rmtree(root)
        after = [model.id for model in api.list_models()]
        gone = httpx2.get(f"{hub.endpoint}/api/models/acme/goes").status_code
    assert (before, after, gone) == (["acme/goes", "acme/stays"], ["acme/stays"], 401)


def test_a_listing_may_rest_on_the_last_walk_and_a_repo_may_not(tmp_path: Path) -> None:
    now = 0.0
    root = add_repo(tmp_path, "acme/one")
    shelf = FolderShelf(tmp_path, fresh_s=60, clock=lambda: now)
    first = shelf.rows()
    (root / "README.md").write_text("# Another card\n")
    add_repo(tmp_path, "acme/two")
    resting, at_once = shelf.rows(), shelf.repo("acme/one")
    now = 60.0
    fresh = shelf.rows()
    assert at_once
    assert (resting, at_once.sha == first[1][0].sha) == (first, False)
    assert [repo.id for repo in fresh[1]] == ["acme/one", "acme/two"]
    assert fresh[0] == first[0] + 1
    assert shelf.rows()[0] == fresh[0]


def test_pages_go_on_where_they_were_while_repos_come_and_go(tmp_path: Path) -> None:
    for number in range(6):
        add_repo(tmp_path, f"acme/r{number}", downloads=number)
    with serve_in_thread(tmp_path) as hub:
        first = httpx2.get(f"{hub.endpoint}/api/models?sort=downloads&limit=3")
        shutil.rmtree(tmp_path / "acme/r3")
        shutil.rmtree(tmp_path / "acme/r2")
        add_repo(tmp_path, "acme/new", downloads=99)
        rest = httpx2.get(first.links["next"]["url"])
    assert [row["id"] for row in first.json()] == ["acme/r5", "acme/r4", "acme/r3"]
    assert [row["id"] for row in rest.json()] == ["acme/r1", "acme/r0"]
