"""The deep check: what a download really holds."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from catalog.rules.table import WeightFacts
from lorauter.adapters.weights_check import check_weights

A = "base_model.model.layers.0.q_proj.lora_A.weight"
B = "base_model.model.layers.0.q_proj.lora_B.weight"


def _save(path: Path, tensors: dict[str, torch.Tensor]) -> tuple[int, str]:
    save_file(tensors, path)
    return path.stat().st_size, hashlib.sha256(path.read_bytes()).hexdigest()


def test_sound_weights_and_the_norm_of_their_product(tmp_path: Path) -> None:
    a, b = torch.tensor([[1.0, 2.0, 0.0]]), torch.tensor([[3.0], [4.0]])
    size, sha = _save(tmp_path / "w", {A: a, B: b})

    checked = check_weights(tmp_path / "w")

    assert checked.facts == WeightFacts(size, sha, (), zero_b=False)
    assert checked.mean_norm == pytest.approx(float((b @ a).norm()))
    assert checked.norms == {"layers.0.q_proj": checked.mean_norm}


def test_every_module_has_its_norm(tmp_path: Path) -> None:
    pairs = {"x": (torch.ones(1, 4), torch.ones(1, 1)), "y": (torch.ones(1, 9), 2 * torch.ones(4, 1))}
    named = {f"base_model.model.{m}.lora_{s}.weight": t for m, p in pairs.items() for s, t in zip("AB", p, strict=True)}
    _save(tmp_path / "w", named)

    assert check_weights(tmp_path / "w").norms == pytest.approx({"x": 2.0, "y": 12.0})


def test_an_infinity_is_named(tmp_path: Path) -> None:
    size, sha = _save(tmp_path / "w", {A: torch.ones(1, 3), B: torch.tensor([[1.0], [float("inf")]])})

    assert check_weights(tmp_path / "w").facts == WeightFacts(size, sha, (B,), zero_b=False)


def test_zero_b(tmp_path: Path) -> None:
    size, sha = _save(tmp_path / "w", {A: torch.ones(1, 3), B: torch.zeros(2, 1)})

    assert check_weights(tmp_path / "w").facts == WeightFacts(size, sha, (), zero_b=True)


def test_deltas_of_zero_change_nothing_whichever_side_is_at_rest(tmp_path: Path) -> None:
    size, sha = _save(tmp_path / "w", {A: torch.eye(2), B: torch.tensor([[0.0, 0.0], [0.0, 0.0]])})
    assert check_weights(tmp_path / "w").facts == WeightFacts(size, sha, (), zero_b=True)

    size, sha = _save(tmp_path / "w", {A: torch.tensor([[1.0, 2.0], [0.0, 0.0]]), B: torch.tensor([[0.0, 1.0]])})
    assert check_weights(tmp_path / "w").facts == WeightFacts(size, sha, (), zero_b=True)


@pytest.mark.parametrize(("a", "b"), [(0.0, 1.0), (1.0, 0.0)])
def test_a_dora_may_change_something_without_a_product(tmp_path: Path, a: float, b: float) -> None:
    magnitude = B.replace("lora_B", "lora_magnitude_vector")
    size, sha = _save(tmp_path / "w", {A: torch.full((1, 3), a), B: torch.full((2, 1), b), magnitude: torch.ones(2)})

    assert check_weights(tmp_path / "w").facts == WeightFacts(size, sha, (), zero_b=False)


def test_a_product_that_leaves_float32_is_named(tmp_path: Path) -> None:
    size, sha = _save(tmp_path / "w", {A: torch.full((1, 3), 1e20), B: torch.full((2, 1), 1e20)})

    checked = check_weights(tmp_path / "w")

    assert checked.facts == WeightFacts(size, sha, ("the product of A and B at layers.0.q_proj",), zero_b=False)
    assert checked.norms == {}


def test_a_file_that_is_no_safetensors_is_not_finite(tmp_path: Path) -> None:
    (tmp_path / "w").write_bytes(b"\x80\x04 a pickle, perhaps")

    assert check_weights(tmp_path / "w").facts.non_finite == ("(unreadable)",)
