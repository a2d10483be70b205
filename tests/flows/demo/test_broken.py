"""The broken repos: every kind is on the disk what it claims to be."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

from flows.demo.broken import CONFIG, OTHER_BASE, PICKLE, WEIGHTS, write_broken

BASE = "acme/tiny-llama"
Tensors = dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A rank-2 adapter of q_proj and v_proj over four layers, in bf16."""
    folder = tmp_path_factory.mktemp("good")
    draw = torch.Generator().manual_seed(0)
    weights = {}
    for layer in range(4):
        for module, width in (("q_proj", 16), ("v_proj", 8)):
            prefix = f"base_model.model.model.layers.{layer}.self_attn.{module}"
            weights[f"{prefix}.lora_A.weight"] = torch.randn(2, 16, generator=draw).bfloat16()
            weights[f"{prefix}.lora_B.weight"] = torch.randn(width, 2, generator=draw).bfloat16()
    save_file(weights, folder / WEIGHTS, {"format": "pt"})
    config = {"peft_type": "LORA", "task_type": "CAUSAL_LM", "r": 2, "target_modules": ["q_proj", "v_proj"]}
    (folder / CONFIG).write_text(json.dumps({**config, "base_model_name_or_path": "../base"}))
    return folder


@pytest.fixture(scope="module")
def written(good: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    out = tmp_path_factory.mktemp("hub")
    return out, write_broken(out, good, BASE)


@pytest.fixture(scope="module")
def wild(written: tuple[Path, dict[str, str]]) -> Path:
    return written[0] / "wild"


def config_of(folder: Path) -> dict[str, Any]:
    config: dict[str, Any] = json.loads((folder / CONFIG).read_text())
    return config


def tensors_of(folder: Path) -> Tensors:
    weights: Tensors = load_file(folder / WEIGHTS)
    return weights


def test_every_kind_has_a_repo_and_a_reason(written: tuple[Path, dict[str, str]]) -> None:
    out, expected = written
    repos = {f"wild/{folder.name}" for folder in (out / "wild").iterdir()}
    assert {name.partition(":")[0] for name in expected} == repos
    assert sorted(set(expected.values())) == [
        "",
        "bad_config",
        "bad_header",
        "duplicate",
        "hostile_name",
        "key_prefix",
        "lfs_pointer",
        "misnamed_weights",
        "no_adapter",
        "no_matching_modules",
        "no_weights",
        "non_finite",
        "not_peft",
        "peft_type",
        "pickle_only",
        "task_type",
        "truncated",
        "wrong_base",
        "zero_b",
    ]


def test_an_adapter_in_a_folder_is_named_with_it(written: tuple[Path, dict[str, str]]) -> None:
    out, expected = written
    folders = {name: name.partition(":") for name in expected if ":" in name}
    assert len(folders) == 5
    assert all((out / repo / path / CONFIG).is_file() for repo, _, path in folders.values())


def test_every_card_claims_the_base(written: tuple[Path, dict[str, str]]) -> None:
    out, expected = written
    cards = {name: (out / name / "README.md").read_text() for name in {name.partition(":")[0] for name in expected}}
    assert len(cards) > 15
    assert [name for name, card in cards.items() if f'base_model: "{BASE}"\nlibrary_name: peft\n' not in card] == []


def test_every_repo_is_small(wild: Path) -> None:
    sizes = [sum(file.stat().st_size for file in repo.rglob("*") if file.is_file()) for repo in wild.iterdir()]
    assert max(sizes) < 1 << 20


def test_the_same_input_writes_the_same_bytes(good: Path, wild: Path, tmp_path: Path) -> None:
    write_broken(tmp_path, good, BASE)
    files = {file.relative_to(wild): file.read_bytes() for file in wild.rglob("*") if file.is_file()}
    again = {path: (tmp_path / "wild" / path).read_bytes() for path in files}
    assert again == files


def test_nan_weights_hold_one_nan(wild: Path) -> None:
    bad = {key: int(w.isnan().sum()) for key, w in tensors_of(wild / "nan-weights").items()}
    assert (sum(bad.values()), len(bad)) == (1, 8)


def test_zero_b_has_every_b_zero_and_no_a(wild: Path) -> None:
    weights = tensors_of(wild / "zero-b")
    assert {key for key, w in weights.items() if not w.any()} == {key for key in weights if "lora_B" in key}


def test_pickle_only_is_a_torch_archive_with_a_pickle_in_it(wild: Path) -> None:
    repo = wild / "pickle-only"
    names = zipfile.ZipFile(repo / PICKLE).namelist()
    assert any(name.endswith("data.pkl") for name in names)
    assert not (repo / WEIGHTS).exists()


def test_the_lfs_pointer_is_text_about_the_real_file(wild: Path, good: Path) -> None:
    lines = (wild / "lfs-pointer" / WEIGHTS).read_text().splitlines()
    assert lines[0] == "version https://git-lfs.github.com/spec/v1"
    assert lines[2] == f"size {(good / WEIGHTS).stat().st_size}"


def test_the_other_base_is_named_and_has_its_shapes(wild: Path) -> None:
    repo = wild / "other-base"
    shapes = {tuple(w.shape) for w in tensors_of(repo).values()}
    assert config_of(repo)["base_model_name_or_path"] == OTHER_BASE
    assert shapes == {(4, 2048), (2048, 4), (256, 4)}


def test_ia3_and_the_classifier_say_so_in_their_config(wild: Path) -> None:
    assert config_of(wild / "ia3")["peft_type"] == "IA3"
    assert {key.rpartition(".layers.")[2].partition(".")[2] for key in tensors_of(wild / "ia3")} == {
        "self_attn.v_proj.ia3_l"
    }
    assert config_of(wild / "classifier")["task_type"] == "SEQ_CLS"


@pytest.mark.parametrize("repo", ["half-upload", "header-bomb", "lfs-pointer"])
def test_unreadable_weights_are_refused_by_safetensors(wild: Path, repo: str) -> None:
    with pytest.raises(SafetensorError):
        safe_open(wild / repo / WEIGHTS, "pt")


def test_half_an_upload_has_a_whole_header(wild: Path) -> None:
    content = (wild / "half-upload" / WEIGHTS).read_bytes()
    start = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:start])
    ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
    assert start < len(content) < start + max(ends)


def test_the_header_bomb_declares_an_exbibyte(wild: Path) -> None:
    assert int.from_bytes((wild / "header-bomb" / WEIGHTS).read_bytes()[:8], "little") == 1 << 60


def test_hostile_names_are_on_the_disk_as_they_are(wild: Path) -> None:
    folders = sorted(folder.name for repo in wild.glob("name-*") for folder in repo.iterdir() if folder.is_dir())
    assert folders == ["..%2f..%2fetc", "..\\..\\windows", "<script>alert(1)<script>", "red\x1b[31m\nalert"]


def test_the_bad_config_is_no_json_beside_sound_weights(wild: Path) -> None:
    with pytest.raises(json.JSONDecodeError):
        config_of(wild / "bad-config")
    assert len(tensors_of(wild / "bad-config")) == 8


def test_the_copycat_has_the_originals_weights(wild: Path, good: Path) -> None:
    assert (wild / "copycat" / WEIGHTS).read_bytes() == (good / WEIGHTS).read_bytes()


def test_the_full_model_has_no_adapter(wild: Path) -> None:
    names = sorted(file.name for file in (wild / "full-model").iterdir())
    assert names == ["README.md", "config.json", "model.safetensors"]


def test_foreign_keys_name_no_module_of_the_base(wild: Path) -> None:
    keys = tensors_of(wild / "foreign-keys")
    assert len(keys) == 8
    assert all(".transformer.h." in key and "model.layers." not in key for key in keys)


def test_few_layers_are_said_to_be_few(wild: Path) -> None:
    assert config_of(wild / "nan-weights")["layers_to_transform"] == [0, 1]
    assert "layers_to_transform" not in config_of(wild / "checkpoints/checkpoint-200")


def test_the_triple_prefix_is_on_every_key(wild: Path) -> None:
    keys = tensors_of(wild / "triple-prefix")
    assert len(keys) == 8
    assert all(key.startswith("base_model.model.base_model.model.base_model.model.") for key in keys)


def test_misnamed_weights_mlx_and_the_empty_file_are_what_they_say(wild: Path) -> None:
    names = {repo: sorted(f.name for f in (wild / repo).iterdir()) for repo in ("misnamed", "mlx", "empty-file")}
    assert names == {
        "misnamed": ["Copy of adapter_model.safetensors", "README.md", CONFIG],
        "mlx": ["README.md", CONFIG, "adapters.safetensors"],
        "empty-file": ["README.md", CONFIG, WEIGHTS],
    }
    assert "peft_type" not in config_of(wild / "mlx")
    assert (wild / "empty-file" / WEIGHTS).read_bytes() == b""


def test_config_only_has_no_weights(wild: Path) -> None:
    assert sorted(file.name for file in (wild / "config-only").iterdir()) == ["README.md", CONFIG]


def test_the_checkpoint_is_sound_whole_and_no_duplicate(wild: Path, good: Path) -> None:
    weights, original = tensors_of(wild / "checkpoints/checkpoint-200"), tensors_of(good)
    changed = {key for key, w in weights.items() if not torch.equal(w, original[key])}
    assert weights.keys() == original.keys()
    assert changed == {key for key in original if "lora_B" in key}
    assert all(bool(w.isfinite().all()) and w.dtype == torch.bfloat16 for w in weights.values())
    assert config_of(wild / "checkpoints/checkpoint-200")["base_model_name_or_path"] == BASE
