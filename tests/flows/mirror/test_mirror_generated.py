"""The generated hub: repos that exist by arithmetic, asked by real clients and judged by the catalog's own rules."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import httpx2
import pytest
from huggingface_hub import HfApi, hf_hub_download
from huggingface_hub.errors import GatedRepoError, RevisionNotFoundError

from catalog.adapters.front_matter import front_matter
from catalog.errors import SettingError
from flows.mirror.compression import PACKED_FROM
from flows.mirror.generated import Closed, GeneratedShelf
from flows.mirror.limits import Limits
from flows.mirror.server import HubServer, serve_in_thread

BASE = "bench/llama"
WEIGHTS = "adapter_model.safetensors"


@pytest.fixture
def shelf() -> GeneratedShelf:
    return GeneratedShelf(100, BASE, seed=5)


@pytest.fixture
def hub(shelf: GeneratedShelf) -> Iterator[HubServer]:
    with serve_in_thread(shelf) as server:
        yield server


@pytest.fixture
def api(hub: HubServer) -> HfApi:
    return HfApi(endpoint=hub.endpoint, token=False)


def names(api: HfApi) -> list[str]:
    return [model.id for model in api.list_models(filter=f"base_model:adapter:{BASE}", sort="last_modified")]


def kind_of(hub: HubServer, row: dict[str, object], shas: Counter[str]) -> str:
    """A repo's kind as a reader finds it, who sees nothing but the wire."""
    files = {str(file["rfilename"]): file for file in row["siblings"]}
    found = next(name for name in files if name.endswith("adapter_config.json"))
    if row["gated"]:
        return "gated"
    weights = [name for name in files if name.rpartition("/")[2].startswith("adapter_model")]
    config = httpx2.get(f"{hub.endpoint}/{row['id']}/resolve/{row['sha']}/{found}", follow_redirects=True).json()
    if not weights or weights[0].endswith(".bin"):
        return "pickle_only" if weights else "no_weights"
    if config["base_model_name_or_path"] != BASE:
        return "wrong_base"
    if config["task_type"] != "CAUSAL_LM":
        return "task_type"
    linked = httpx2.head(f"{hub.endpoint}/{row['id']}/resolve/{row['sha']}/{weights[0]}").headers["x-linked-etag"]
    shas[linked] += 1
    return "duplicate" if shas[linked] > 1 else "subfolder" if "/" in found else "sound"


def test_the_kinds_are_what_a_reader_finds(shelf: GeneratedShelf, hub: HubServer) -> None:
    fields = "&".join(f"expand={name}" for name in ("sha", "siblings", "gated"))
    rows = httpx2.get(f"{hub.endpoint}/api/models?filter=base_model:adapter:{BASE}&{fields}").json()
    shas = Counter[str]()
    found = Counter(kind_of(hub, row, shas) for row in rows)
    odd = ("gated", "pickle_only", "no_weights", "wrong_base", "task_type", "duplicate", "subfolder")
    assert found == Counter(dict.fromkeys(odd, 1) | {"sound": 93})
    assert shelf.kinds() == found


def test_an_adapter_fits_its_base(api: HfApi) -> None:
    base = api.parse_safetensors_file_metadata(BASE, "model.safetensors").tensors
    adapter = api.parse_safetensors_file_metadata("maker-004/lora-000004", WEIGHTS).tensors
    told = f"{api.endpoint}/maker-004/lora-000004/resolve/main/adapter_config.json"
    config = httpx2.get(told, follow_redirects=True).json()
    lora = {name: tensor.shape for name, tensor in adapter.items()}
    modules = {name.removeprefix("base_model.model.").partition(".lora_")[0] for name in lora}
    rank, (rows, columns) = config["r"], base["model.layers.3.self_attn.v_proj.weight"].shape
    prefix = "base_model.model.model.layers.3.self_attn.v_proj"
    assert (len(base), len(modules)) == (272, 30 * len(config["target_modules"]))
    assert modules <= {name.removesuffix(".weight") for name in base}
    assert (lora[f"{prefix}.lora_A.weight"], lora[f"{prefix}.lora_B.weight"]) == ([rank, columns], [rows, rank])


@pytest.mark.parametrize("name", ["maker-004/lora-000004", BASE])
def test_a_download_is_what_its_hash_and_header_say(hub: HubServer, api: HfApi, tmp_path: Path, name: str) -> None:
    import torch
    from safetensors import safe_open

    file = WEIGHTS if name != BASE else "model.safetensors"
    siblings = {s.rfilename: s for s in api.model_info(name, files_metadata=True).siblings or []}
    path = Path(hf_hub_download(name, file, endpoint=hub.endpoint, cache_dir=tmp_path, token=False))
    lfs = siblings[file].lfs
    with safe_open(path, "pt") as tensors:
        first = tensors.get_tensor(next(iter(tensors.keys())))
    assert lfs
    assert (lfs.size, lfs.sha256) == (path.stat().st_size, hashlib.sha256(path.read_bytes()).hexdigest())
    assert (first.dtype, bool(torch.isfinite(first).all())) == (torch.bfloat16, True)


def test_all_numbers_of_an_adapter_are_finite_and_small(shelf: GeneratedShelf) -> None:
    import numpy as np

    repo = shelf.repo("maker-004/lora-000004")
    assert repo
    file = repo.file(WEIGHTS)
    assert file
    content, data = shelf.content(repo, file), bytearray()
    while len(data) < content.size:
        data += content.read(len(data), content.size)
    header = 8 + int.from_bytes(data[:8], "little")
    numbers = (np.frombuffer(data[header:], dtype="<u2").astype(np.uint32) << 16).view(np.float32)
    assert 0.0078 <= np.abs(numbers).min() <= np.abs(numbers).max() < 0.04


def test_a_range_is_the_same_bytes_wherever_it_lies() -> None:
    shelf = GeneratedShelf(5, BASE, ranks=(32,))
    with serve_in_thread(shelf) as hub, httpx2.Client(follow_redirects=True) as client:
        url = f"{hub.endpoint}/maker-004/lora-000004/resolve/main/{WEIGHTS}"
        whole = client.get(url).content
        size, header = len(whole), 8 + int.from_bytes(whole[:8], "little")
        seams = [
            (0, 9),
            (header - 3, header + 5),
            (header + (1 << 20) - 2, header + (1 << 20) + 2),
            (size - 1030, size),
        ]
        pieces = [client.get(url, headers={"Range": f"bytes={a}-{b - 1}"}) for a, b in seams]
        tail = client.get(url, headers={"Range": "bytes=-5"})
        open_end = client.get(url, headers={"Range": f"bytes={size - 4}-"})
        clipped = client.get(url, headers={"Range": f"bytes={size - 4}-{size + 100}"})
        beyond = client.get(url, headers={"Range": f"bytes={size}-"})
        head = client.head(url)
    assert [(p.status_code, p.content) for p in pieces] == [(206, whole[a:b]) for a, b in seams]
    assert [p.headers["content-range"] for p in pieces] == [f"bytes {a}-{b - 1}/{size}" for a, b in seams]
    assert (tail.content, open_end.content, clipped.content) == (whole[-5:], whole[-4:], whole[-4:])
    assert (beyond.status_code, beyond.headers["content-range"]) == (416, f"bytes */{size}")
    assert (head.headers["content-length"], head.content) == (str(size), b"")


def test_cards_and_configs_are_long_enough_to_be_packed(shelf: GeneratedShelf) -> None:
    repos = [repo for row in shelf.rows()[1][1:] for repo in [shelf.whole(row)] if repo]
    texts = [(file.name, shelf.content(repo, file)) for repo in repos for file in repo.files if not file.lfs]
    cards = [content.read(0, content.size) for name, content in texts if name == "README.md"]
    assert min(content.size for _, content in texts) >= PACKED_FROM
    assert 10 < sum(b"\r\n" in card for card in cards) < 40
    assert all(front_matter(card.decode())["base_model"] == BASE for card in cards)


def test_a_seed_makes_the_same_hub_again(shelf: GeneratedShelf) -> None:
    def told(shelf: GeneratedShelf) -> list[object]:
        return [(row, repo and (repo.sha, repo.files)) for row in shelf.rows()[1] for repo in [shelf.whole(row)]]

    assert told(shelf) == told(GeneratedShelf(100, BASE, seed=5))
    assert told(shelf) != told(GeneratedShelf(100, BASE, seed=6))


def test_sizes_follow_from_rank_and_modules() -> None:
    def sizes(shelf: GeneratedShelf) -> set[int]:
        repos = [shelf.whole(row) for row in shelf.rows()[1][1:]]
        return {file.size for repo in repos if repo for file in repo.files if file.name == WEIGHTS}

    small = sizes(GeneratedShelf(50, BASE, ranks=(4,), targets=(("q_proj", "v_proj"),)))
    every = sizes(GeneratedShelf(400, BASE))
    assert len(small) == 1
    assert 4 * 1920 * 30 * 2 < min(small) < 4 * 1920 * 30 * 2 + 20_000
    assert (len(every), min(every), max(every) < 40_000_000) == (10, min(small), True)


def test_hashes_are_unique_but_for_duplicates(shelf: GeneratedShelf) -> None:
    repos = [shelf.whole(row) for row in shelf.rows()[1]]
    shas = Counter(file.sha256 for repo in repos if repo for file in repo.files if file.lfs)
    assert Counter(shas.values()) == Counter({1: 98, 2: 1})


def test_a_change_is_a_new_commit_in_front(shelf: GeneratedShelf, api: HfApi, hub: HubServer, tmp_path: Path) -> None:
    before = {model.id: model.sha for model in api.list_models(expand=["sha"])}
    picked = shelf.pick(3)
    shelf.change(picked)
    after = {model.id: model.sha for model in api.list_models(expand=["sha"])}
    old = api.model_info(picked[0], revision=before[picked[0]])
    card = hf_hub_download(
        picked[0], "README.md", revision=old.sha, endpoint=hub.endpoint, cache_dir=tmp_path, token=False
    )
    with pytest.raises(RevisionNotFoundError):
        api.model_info(picked[0], revision="0" * 40)
    assert sorted(name for name in after if after[name] != before[name]) == sorted(picked)
    assert names(api)[:3] == picked[::-1]
    assert (old.sha, Path(card).read_text().splitlines()[-1]) == (
        before[picked[0]],
        f"# {picked[0]}, commit 0",
    )


@pytest.mark.parametrize("weights", [True, False])
def test_a_change_may_leave_the_weights(shelf: GeneratedShelf, weights: bool) -> None:
    name = "maker-004/lora-000004"
    before = shelf.repo(name)
    shelf.change([name], weights=weights)
    after = shelf.repo(name)
    assert before
    assert after
    changed = {b.name for b, a in zip(before.files, after.files, strict=True) if a.sha256 != b.sha256}
    assert changed == {"README.md", WEIGHTS} if weights else {"README.md"}


def test_a_duplicate_ends_with_a_change_of_either(shelf: GeneratedShelf) -> None:
    pair = ["maker-070/lora-000070", "maker-071/lora-000071"]
    shelf.change(pair[:1], weights=False)
    kept = shelf.kinds()["duplicate"]
    shelf.change(pair[:1])
    assert (kept, shelf.kinds()["duplicate"], shelf.kinds()["sound"]) == (1, 0, 94)


def test_repos_come_and_go(shelf: GeneratedShelf, api: HfApi) -> None:
    gone = shelf.pick(2)
    shelf.remove(gone)
    added = shelf.add(3)
    told = names(api)
    assert httpx2.get(f"{api.endpoint}/api/models/{gone[0]}").status_code == 401
    assert (len(told), told[:3]) == (101, added[::-1])
    assert not set(gone) & set(told)
    assert shelf.kinds().total() == 101


def test_a_renamed_repo_answers_to_both_names(shelf: GeneratedShelf, api: HfApi) -> None:
    before = api.model_info("maker-004/lora-000004")
    once = shelf.rename(["maker-004/lora-000004"])
    twice = shelf.rename(once)
    told = [api.model_info(name) for name in ("maker-004/lora-000004", once[0], twice[0])]
    assert [(model.id, model.sha) for model in told] == [(twice[0], before.sha)] * 3
    assert len(names(api)) == 100


def test_a_closed_repo_is_listed_and_serves_no_file(shelf: GeneratedShelf, hub: HubServer, api: HfApi) -> None:
    closed = {how: f"maker-00{at}/lora-00000{at}" for at, how in enumerate(get_args(Closed), start=1)}
    before = [api.model_info(name).disabled for name in closed.values()]
    for how, name in closed.items():
        shelf.close([name], how)
    statuses = [
        httpx2.get(hub.endpoint + at).status_code
        for name in closed.values()
        for at in (f"/{name}/resolve/main/{WEIGHTS}", f"/api/models/{name}")
    ]
    assert before == [False] * 3
    assert statuses == [403, 200, 451, 451, 410, 410]
    assert set(closed.values()) <= set(names(api))


def test_a_gated_repo_keeps_its_files(api: HfApi) -> None:
    assert api.model_info("maker-007/lora-000007").gated == "manual"
    with pytest.raises(GatedRepoError):
        api.parse_safetensors_file_metadata("maker-007/lora-000007", WEIGHTS)


def test_twenty_thousand_repos_are_listed_in_seconds() -> None:
    shelf = GeneratedShelf(20_000, BASE)
    with serve_in_thread(shelf, limits=Limits(enforced=False)) as hub:
        began = time.monotonic()
        found = HfApi(endpoint=hub.endpoint, token=False).list_models(
            filter=f"base_model:adapter:{BASE}", sort="last_modified", expand=["sha", "siblings", "tags"]
        )
        ids = {model.id for model in found}
    assert (len(ids), hub.counts.pages) == (20_000, 20)
    assert time.monotonic() - began < 20


def test_a_wrong_base_says_what_to_do() -> None:
    for base in ("no-slash", "maker-001/lora-000001"):
        with pytest.raises(SettingError, match="ORG/NAME"):
            GeneratedShelf(1, base)


# As a program


def test_the_program_serves_and_obeys() -> None:
    command = [sys.executable, "-m", "flows.mirror.generated", "--repos", "50", "--base", BASE, "--latency", "0.01"]
    command += ["--token", "t0k3n", "--plan", "pro", "--ranks", "4", "--targets", "qv", "--faults", "slow=0,seed=3"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as program:
        assert program.stdin
        assert program.stdout
        endpoint = program.stdout.readline().strip()

        def tell(**line: object) -> dict[str, object]:
            program.stdin.write(json.dumps(line) + "\n")
            program.stdin.flush()
            return json.loads(program.stdout.readline())

        plain = {"Accept-Encoding": "identity"}
        page = httpx2.get(f"{endpoint}/api/models?limit=2", headers={"Authorization": "Bearer t0k3n", **plain})
        anonymous = httpx2.get(f"{endpoint}/api/models/{BASE}", headers=plain)
        counts = tell(counts=True)
        changed = tell(change=2, weights=False)["changed"]
        removed, added, renamed = (tell(**{word: 2})[f"{word.rstrip('e')}ed"] for word in ("remove", "add", "rename"))
        kinds = tell(kinds=True)["kinds"]
        closed = tell(close=1, how="legal")["closed"]
        tell(faults={"broken": 1})
        broken = httpx2.get(f"{endpoint}/api/models").status_code
        wrong = [tell(faults={"sunshine": 1}), tell(change="x"), tell(close=1, how="maybe")]
        tell(faults=None, expire=True)
        dead = httpx2.get(f"{endpoint}/api/models?limit=2", headers={"Authorization": "Bearer t0k3n"})
        program.stdin.close()
        rest = program.stdout.read()
    assert counts == {
        "api": 2,
        "resolvers": 0,
        "hops": 0,
        "pages": 1,
        "tokens": 0,
        "refused": 0,
        "bytes": len(page.content) + len(anonymous.content),
        "faults": {},
    }
    assert (page.headers["ratelimit"], anonymous.headers["ratelimit"]) == ('"api";r=2499;t=300', '"api";r=499;t=300')
    assert [len(ids) for ids in (changed, removed, added, renamed, closed)] == [2, 2, 2, 2, 1]
    assert (sum(kinds.values()), broken) == (50, 500)
    assert (dead.status_code, dead.json()) == (401, {"error": 'User Access Token "bench" is expired'})
    assert [list(told) for told in wrong] == [["error"]] * 3
    assert (rest, program.returncode) == ("", 0)


def test_a_wrong_option_of_the_program_is_told() -> None:
    command = [sys.executable, "-m", "flows.mirror.generated", "--faults", "sunshine=1"]
    program = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    assert (program.returncode, "sunshine" in program.stderr) == (2, True)


def test_a_hub_without_limits_refuses_nobody_and_states_none(shelf: GeneratedShelf) -> None:
    with serve_in_thread(shelf, limits=Limits(scale=0.002, enforced=False)) as hub:
        answers = [httpx2.get(f"{hub.endpoint}/api/models?limit=1") for _ in range(3)]
    assert [(answer.status_code, "ratelimit" in answer.headers) for answer in answers] == [(200, False)] * 3
