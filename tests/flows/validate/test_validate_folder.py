"""Folders of adapters judged offline: made cases of every kind that was seen in the wild, and the wild ones."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from catalog.adapters.adapter import Finding
from catalog.rules.table import RULES, Policy
from flows.validate.folder import FolderVerdict, _listing, judge_folder, write_verdicts

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
BASE = "acme/tiny-llama"
MODEL = {
    "model_type": "llama",
    "architectures": ["LlamaForCausalLM"],
    "vocab_size": 50,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}
PLAIN: dict[str, Any] = {
    "peft_type": "LORA",
    "task_type": "CAUSAL_LM",
    "base_model_name_or_path": BASE,
    "r": 2,
    "lora_alpha": 4,
    "target_modules": ["q_proj", "v_proj"],
}
Tensors = dict[str, torch.Tensor]
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 123\n"


def pairs(**ranks: int) -> Tensors:
    """Pairs at q_proj (16 → 16) and v_proj (16 → 8) of both layers."""
    tensors = {}
    for layer in range(2):
        for module, width in (("q_proj", 16), ("v_proj", 8)):
            rank, key = ranks.get(module, 2), f"base_model.model.model.layers.{layer}.self_attn.{module}"
            tensors[f"{key}.lora_A.weight"] = torch.ones(rank, 16)
            tensors[f"{key}.lora_B.weight"] = torch.ones(width, rank)
    return tensors


def renamed(old: str, new: str) -> Tensors:
    return {key.replace(old, new): tensor for key, tensor in pairs().items()}


def of_mlx() -> Tensors:
    return {k.replace("lora_A.weight", "lora_a").replace("lora_B.weight", "lora_b"): t for k, t in pairs().items()}


def magnitudes() -> Tensors:
    return {k.replace("lora_B.weight", "lora_magnitude_vector"): t[:, 0] for k, t in pairs().items() if "lora_B" in k}


def write(
    folder: Path, tensors: Tensors | None = None, card: str = "", weights: str = WEIGHTS, **config: object
) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / CONFIG).write_text(json.dumps({k: v for k, v in (PLAIN | config).items() if v != "absent"}))
    save_file({k: t.clone() for k, t in (pairs() if tensors is None else tensors).items()}, folder / weights)
    if card:
        (folder / "README.md").write_text(f"---\n{card}\n---\n# hello\n")
    return folder


def write_base(root: Path, id_: str = BASE, **changes: object) -> Path:
    (root / id_).mkdir(parents=True)
    (root / id_ / "config.json").write_text(json.dumps(MODEL | changes))
    return root


def mlx(folder: Path) -> None:
    write(folder, weights="adapters.safetensors")
    (folder / CONFIG).write_text('{"fine_tune_type": "lora", "lora_parameters": {"rank": 8}, "model": "x/y"}')


def with_file(name: str, content: bytes) -> Callable[[Path], object]:
    def make(folder: Path) -> None:
        write(folder)
        (folder / name).write_bytes(content)

    return make


def with_nan(folder: Path) -> None:
    write(folder, {key: tensor * float("nan") for key, tensor in pairs().items()})


def with_zero_a(folder: Path) -> None:
    write(folder, {key: tensor * ("lora_B" in key) for key, tensor in pairs().items()})


def with_dora_at_rest(side: str) -> Callable[[Path], object]:
    """Its products are zero, and its magnitudes change the base all the same."""
    return with_({key: tensor * (side not in key) for key, tensor in pairs().items()} | magnitudes(), use_dora=True)


def with_zero_products(folder: Path) -> None:
    """Each half of the rank is at rest on one side."""
    write(folder, {key: half_zero(key, tensor) for key, tensor in pairs().items()})


def half_zero(key: str, tensor: torch.Tensor) -> torch.Tensor:
    mask = torch.tensor([1.0, 0.0])
    return tensor * mask[:, None] if "lora_A" in key else tensor * (1 - mask)


def with_huge_products(folder: Path) -> None:
    write(folder, {key: tensor * 1e30 for key, tensor in pairs().items()})


def with_zero_b(folder: Path) -> None:
    write(folder, {key: tensor * ("lora_A" in key) for key, tensor in pairs().items()})


def with_(
    tensors: Tensors | None = None, card: str = "", weights: str = WEIGHTS, **config: object
) -> Callable[[Path], object]:
    return lambda folder: write(folder, tensors, card, weights, **config)


TRIPLE = renamed("base_model.model.", "base_model.model.base_model.model.base_model.model.")
HEAD = {
    "base_model.model.lm_head.lora_A.weight": torch.ones(2, 16),
    "base_model.model.lm_head.lora_B.weight": torch.ones(50, 2),
}
ROWS = {"base_model.model.model.embed_tokens.weight": torch.ones(52, 16)}
Q_ONLY = {key: tensor for key, tensor in pairs().items() if "q_proj" in key}
REGEX = r"(?:.*?(?:language|text).*?)|(?:\bmodel\.layers\.[\d]{1,}\.(?:self_attn|mlp)\.(?:(?:q_proj|v_proj)))"
DOTTED = [f"model.layers.{layer}.self_attn.{m}" for layer in range(2) for m in ("q_proj", "v_proj")]

# Name: how it is made, the reason (None: admitted), the base it was told to be for.
MADE: dict[str, tuple[Callable[[Path], object], str | None, str | None]] = {
    "sound": (with_(), None, BASE),
    "dotted-targets": (with_(target_modules=DOTTED), None, BASE),
    "regex-targets": (with_(target_modules=REGEX), None, BASE),
    "all-linear-but-two": (with_(target_modules="all-linear"), "missing_modules", BASE),
    "float-alpha": (with_(lora_alpha=16.0), None, BASE),
    "fan-in-fan-out": (with_(fan_in_fan_out=True), None, BASE),
    "old-fields": (with_(enable_lora=None, merge_weights=False, task_type="absent"), None, BASE),
    "rank-pattern": (with_(pairs(v_proj=4), rank_pattern={"v_proj": 4}, alpha_pattern={"v_proj": 9}), None, BASE),
    "rank-not-the-configs": (with_(pairs(v_proj=4), r=8), "rank_mismatch", BASE),
    "rslora": (with_(use_rslora=True), None, BASE),
    "dora": (with_(pairs() | magnitudes(), use_dora=True), None, BASE),
    "dora-zero-a": (with_dora_at_rest("lora_A"), None, BASE),
    "dora-zero-b": (with_dora_at_rest("lora_B"), None, BASE),
    "dora-without-magnitudes": (with_(use_dora=True), "dora_mismatch", BASE),
    "magnitudes-without-dora": (with_(pairs() | magnitudes()), "dora_mismatch", BASE),
    "base-null": (with_(base_model_name_or_path=None, card=f"base_model: {BASE}"), None, BASE),
    "base-null-shapes": (with_(base_model_name_or_path=None), "unknown_base", None),
    "base-merged": (with_(base_model_name_or_path="./merged_sft_model"), "unknown_base", None),
    "base-revision": (with_(revision="step1000"), "base_revision", BASE),
    "base-revision-main": (with_(revision="main"), None, BASE),
    "base-path": (with_(base_model_name_or_path="/home/me/tiny-llama"), None, BASE),
    "base-path-card": (with_(base_model_name_or_path="/tmp/x", card=f"base_model:\n- {BASE}"), None, BASE),
    "base-quantised": (with_(base_model_name_or_path="unsloth/tiny-llama-bnb-4bit"), None, BASE),
    "base-and-card-differ": (with_(card="base_model: other/model"), None, BASE),
    "base-elsewhere": (with_(base_model_name_or_path="far/away"), None, "far/away"),
    "base-untold": (with_(renamed("layers", "h"), base_model_name_or_path=None), "unknown_base", None),
    "base-vision": (
        with_(base_model_name_or_path="Qwen/Qwen2.5-VL-7B-Instruct"),
        "base_kind",
        "Qwen/Qwen2.5-VL-7B-Instruct",
    ),
    "base-whisper": (
        with_(task_type=None, auto_mapping={"base_model_class": "WhisperForConditionalGeneration"}),
        "base_kind",
        BASE,
    ),
    "classifier": (with_(task_type="SEQ_CLS"), "task_type", BASE),
    "prompt-tuning": (with_(peft_type="PROMPT_TUNING"), "peft_type", BASE),
    "mlx": (mlx, "not_peft", None),
    "config-pointer": (with_file(CONFIG, POINTER), "lfs_pointer", None),
    "config-broken": (with_file(CONFIG, b"{'r': 8}"), "bad_config", None),
    "weights-pointer": (with_file(WEIGHTS, POINTER), "lfs_pointer", BASE),
    "weights-empty": (with_file(WEIGHTS, b""), "truncated", BASE),
    "weights-bomb": (with_file(WEIGHTS, b"\xff" * 64), "bad_header", BASE),
    "weights-cut": (with_file(WEIGHTS, b"\x02\0\0\0\0\0\0\0{"), "bad_header", BASE),
    "weights-nan": (with_nan, "non_finite", BASE),
    "weights-zero-b": (with_zero_b, "zero_b", BASE),
    "weights-zero-a": (with_zero_a, "zero_b", BASE),
    "weights-zero-products": (with_zero_products, "zero_b", BASE),
    "weights-huge-products": (with_huge_products, "non_finite", BASE),
    "alpha-zero": (with_(lora_alpha=0), "zero_b", BASE),
    "alpha-zero-by-pattern": (with_(alpha_pattern={"q_proj": 0, "v_proj": 0}), "zero_b", BASE),
    "alpha-zero-but-one": (with_(lora_alpha=0, alpha_pattern={"q_proj": 4}), None, BASE),
    "half-pairs": (with_({k: t for k, t in pairs().items() if "lora_A" in k}), "broken_pair", BASE),
    "weights-none": (with_({}), "no_lora_tensors", BASE),
    "weights-copy-of": (with_(weights=f"Copy of {WEIGHTS}"), "misnamed_weights", BASE),
    "weights-pickle": (with_(weights="adapter_model.bin"), "pickle_only", BASE),
    "weights-full-model": (with_(weights="model.safetensors"), "no_weights", BASE),
    "prefix-triple": (with_(TRIPLE), "key_prefix", BASE),
    "prefix-none": (with_(renamed("base_model.model.", "")), "key_prefix", BASE),
    "prefix-compiled": (with_(renamed("base_model.model.", "base_model.model._orig_mod.")), "key_prefix", BASE),
    "prefix-parallel": (with_(renamed("base_model.model.", "base_model.model.module.")), "key_prefix", BASE),
    "prefix-model-twice": (with_(renamed("model.layers", "model.model.layers")), "key_prefix", BASE),
    "prefix-within": (with_(renamed(".self_attn.", "._checkpoint_wrapped_module.self_attn.")), "key_prefix", BASE),
    "all-linear-and-the-head": (with_(pairs() | HEAD, target_modules="all-linear"), "untargeted_modules", BASE),
    "mica": (with_(init_lora_weights="mica"), None, BASE),
    "unknown-init": (with_(init_lora_weights="kaiming"), "malformed_field", BASE),
    "unknown-bias": (with_(bias="foo"), "malformed_field", BASE),
    "peft-and-mlx": (with_(fine_tune_type="lora", lora_parameters={"scale": 20.0}), "hybrid_config", BASE),
    "mlx-tensors": (with_(of_mlx()), "no_lora_tensors", BASE),
    "alora": (with_(alora_invocation_tokens=[1, 2]), "alora", BASE),
    "pissa": (with_(init_lora_weights="pissa_niter_16"), "changed_base", BASE),
    "layer-replication": (with_(layer_replication=[[0, 2]]), "layer_replication", BASE),
    "unknown-field": (with_(enable_lora=[True, False, True]), "unknown_fields", BASE),
    "modules-to-save": (with_(modules_to_save=["lm_head"]), "modules_to_save", BASE),
    "resized-vocabulary": (with_(pairs() | ROWS), "added_rows", BASE),
    "saved-module": (with_(pairs() | {"base_model.model.score.weight": torch.ones(2, 16)}), "extra_tensors", BASE),
    "trained-bias": (with_(pairs() | {"base_model.model.lm_head.bias": torch.ones(2)}, bias="all"), "bias", BASE),
    "untargeted": (with_(target_modules=["q_proj"]), "untargeted_modules", BASE),
    "half-lost": (with_(Q_ONLY), "missing_modules", BASE),
    "foreign-keys": (with_(renamed("layers", "h")), "no_matching_modules", BASE),
    "other-shapes": (with_({k: t.repeat(1, 2) if "A" in k else t for k, t in pairs().items()}), "shape_mismatch", BASE),
    "nothing": (lambda folder: folder.mkdir(), "no_adapter", None),
}


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> dict[str, FolderVerdict]:
    """All made cases in one folder, judged against the tiny base."""
    root, bases = tmp_path_factory.mktemp("made"), write_base(tmp_path_factory.mktemp("bases"))
    for name, (make, _, _) in MADE.items():
        make(root / name)
    verdicts = judge_folder(root, Policy(), bases)
    assert [verdict.folder for verdict in verdicts] == sorted(MADE)
    return {verdict.folder: verdict for verdict in verdicts}


@pytest.mark.parametrize("name", MADE)
def test_a_made_adapter_ends_with_its_verdict(name: str, judged: dict[str, FolderVerdict]) -> None:
    _, reason, base = MADE[name]
    verdict = judged[name]
    assert (verdict.reason, verdict.admitted, verdict.base) == (reason, reason is None, base), verdict.findings


def test_the_first_finding_is_the_reason_and_all_have_evidence(judged: dict[str, FolderVerdict]) -> None:
    rejected = [verdict for verdict in judged.values() if verdict.reason]
    assert {verdict.reason for verdict in rejected} == {reason for _, reason, _ in MADE.values() if reason}
    assert [verdict.findings[0].reason for verdict in rejected] == [verdict.reason for verdict in rejected]
    assert [verdict for verdict in rejected if not all(finding.evidence for finding in verdict.findings)] == []


def test_without_bases_the_rules_about_modules_pass(tmp_path: Path) -> None:
    write(tmp_path / "x", renamed("layers", "h"))
    write(tmp_path / "y", Q_ONLY)
    assert [verdict.reason for verdict in judge_folder(tmp_path, Policy())] == [None, None]


def test_the_policy_and_the_users_aliases_count(tmp_path: Path) -> None:
    write(tmp_path / "x", card="license: mit", base_model_name_or_path="our/copy")
    policy = Policy(max_rank=1, licences=("apache-2.0",))
    rank, licence = "rank 2, the limit is 1", "licence 'mit' is not among apache-2.0"
    assert judge_folder(tmp_path, policy, aliases={"Our/Copy": BASE}) == [
        FolderVerdict("x", BASE, (Finding("rank", rank), Finding("licence", licence)))
    ]


def test_a_folder_that_is_one_adapter_is_a_dot(tmp_path: Path) -> None:
    write(tmp_path)
    assert judge_folder(tmp_path, Policy()) == [FolderVerdict(".", BASE, ())]


def test_adapters_in_subfolders_are_entries_of_their_own_and_the_repos_card_speaks_for_them(tmp_path: Path) -> None:
    write(tmp_path / "repo", card=f"base_model: {BASE}")
    write(tmp_path / "repo/checkpoints/20", base_model_name_or_path=None)
    (tmp_path / "index.csv").write_text("no adapter")
    assert {verdict.folder: verdict.base for verdict in judge_folder(tmp_path, Policy())} == {
        "repo": BASE,
        "repo/checkpoints/20": BASE,
    }


def test_links_and_pipes_are_not_opened(tmp_path: Path) -> None:
    sound = write(tmp_path / "elsewhere" / "sound")
    linked = tmp_path / "all" / "linked"
    linked.mkdir(parents=True)
    (linked / CONFIG).symlink_to(sound / CONFIG)
    (tmp_path / "all" / "whole").symlink_to(sound)
    piped = tmp_path / "all" / "piped"
    piped.mkdir()
    os.mkfifo(piped / CONFIG)
    found = {verdict.folder: verdict.reason for verdict in judge_folder(tmp_path / "all", Policy())}
    assert found == {"linked": "no_adapter", "piped": "no_adapter"}


def test_a_base_that_is_no_causal_language_model_is_told_late(tmp_path: Path) -> None:
    bases = write_base(tmp_path / "bases", model_type="t5", architectures=["T5ForConditionalGeneration"])
    write(tmp_path / "all" / "x")
    told = f"{BASE} is no causal language model (T5ForConditionalGeneration)."
    assert judge_folder(tmp_path / "all", Policy(), bases)[0].findings == (Finding("base_unreadable", told),)


def test_rows_are_written_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    verdicts = [FolderVerdict("é", BASE, ()), FolderVerdict("x", None, (Finding("rank", "rank 2, the limit is 1"),))]
    write_verdicts(verdicts, tmp_path / "out.json")
    write_verdicts(verdicts, Path("-"))
    findings = [{"reason": "rank", "evidence": "rank 2, the limit is 1"}]
    assert (
        json.loads((tmp_path / "out.json").read_text("utf-8"))
        == json.loads(capsys.readouterr().out)
        == [
            {"folder": "é", "admitted": True, "reason": None, "findings": [], "base": BASE},
            {"folder": "x", "admitted": False, "reason": "rank", "findings": findings, "base": None},
        ]
    )


# The wild ones: folders of public repositories, which do not belong to this project.

ROOT = Path(__file__).parents[3]
WILD = Path(os.environ.get("LORAUTER_TEST_DATA") or ROOT / "../shared/data") / "wild_adapters"
VERDICTS = Path(__file__).parent / "wild_verdicts.csv"


def test_the_table_of_wild_verdicts_names_rules() -> None:
    with VERDICTS.open(encoding="utf-8", newline="") as file:
        reasons = {row["reason"] for row in csv.DictReader(file)}
    assert reasons - {name for name, _ in RULES} == {""}


@pytest.mark.skipif(not WILD.is_dir(), reason="no wild_adapters: set LORAUTER_TEST_DATA to the folder that holds it")
def test_every_wild_adapter_ends_with_the_verdict_of_the_table() -> None:
    with VERDICTS.open(encoding="utf-8", newline="") as file:
        expected = {row["folder"]: row["reason"] or None for row in csv.DictReader(file)}
    assert {verdict.folder: verdict.reason for verdict in judge_folder(WILD, Policy())} == expected


def test_files_at_the_top_count_against_the_limit_as_those_below_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flows.validate.folder.FILES_LIMIT", 5)
    for number in range(9):
        (tmp_path / f"{number}.txt").touch()
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / CONFIG).touch()

    assert _listing(tmp_path).files == tuple(f"{number}.txt" for number in range(5))
