"""A trained state keeps its hash, and a file of a stranger is looked at before anything is made of it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save

from catalog.errors import SettingError, SnapshotError
from lorauter.trained.grounds import Grounds, check_grounds, differences
from lorauter.trained.state import TrainedState, shaped

TENSORS = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.zeros(0, dtype=np.int64)}
GROUNDS = Grounds("r", "1", "org/base", "", "enc", {"t": "h"}, ("x@1",), {"width": 3}, "")


def state(**facts: Any) -> TrainedState:
    return TrainedState(TENSORS, {**GROUNDS.facts, **facts})


def test_a_state_comes_back_as_it_was_saved(tmp_path: Path) -> None:
    kept = state(seed=0)
    kept.save(tmp_path, "r-1")

    read = TrainedState.read(tmp_path, "r-1", kept.sha)

    assert (read.sha, read.facts, read.file_name) == (kept.sha, kept.facts, f"r-{kept.sha[:32]}")
    assert {name: tensor.tolist() for name, tensor in read.tensors.items()} == {"a": [[0, 1, 2], [3, 4, 5]], "b": []}


def test_the_hash_knows_every_fact_and_every_number_and_no_second() -> None:
    other = {"a": TENSORS["a"] + 1, "b": TENSORS["b"]}

    hashes = {state(seed=0).sha, state(seed=1).sha, TrainedState(other, state(seed=0).facts).sha}

    assert len(hashes) == 3
    assert TrainedState(TENSORS, state(seed=0).facts, {"seconds": 3.5}).sha == state(seed=0).sha


def _save(tensors: bytes, facts: str) -> Any:
    def write(folder: Path) -> None:
        (folder / "r-1.safetensors").write_bytes(tensors)
        (folder / "r-1.json").write_text(facts)

    return write


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (_save(save({"a": np.asarray([1.0, np.nan])}), "{}"), "NaN or infinity in a"),
        (_save((1 << 40).to_bytes(8, "little"), "{}"), "the header declares"),
        (_save(save(TENSORS)[:-1], "{}"), "the file has"),
        (_save(save({"a": np.zeros(1, dtype=np.uint16)}), "{}"), "a is U16, not one of"),
        (_save(save(TENSORS), "[]"), "a JSON list, not an object"),
        (_save(save(TENSORS), '{"a": ' * 90 + "1" + "}" * 90), "nested deeper"),
        (_save(save(TENSORS), "{}"), "it is state"),
        (lambda folder: None, "No such file"),
    ],
)
def test_what_cannot_be_a_state_is_refused_by_file_and_fault(tmp_path: Path, spoil: Any, said: str) -> None:
    spoil(tmp_path)

    with pytest.raises(SnapshotError, match=said) as refused:
        TrainedState.read(tmp_path, "r-1", "0" * 64)

    assert "r-1." in refused.value.cause and refused.value.next_step.endswith("lorauter fit r.")


def test_a_tensor_of_another_shape_is_told() -> None:
    assert shaped(state(), "a", 2, None).shape == (2, 3)
    with pytest.raises(SnapshotError, match=r"a has the shape \(2, 3\), not \(3, None\)"):
        shaped(state(), "a", 3, None)
    with pytest.raises(SnapshotError, match="c is missing"):
        shaped(state(), "c", 1)


@pytest.mark.parametrize(
    ("fact", "value", "said"),
    [
        ("version", "2", "another version of its code"),
        ("base", "org/other", "another base model"),
        ("encoder", "other", "another sentence encoder"),
        ("tasks", {"t": "changed"}, "other tasks, or tasks that have changed"),
        ("adapters", [], "other adapters"),
        ("options", {"width": 4}, "other constants"),
        ("examples", "more", "other training examples"),
    ],
)
def test_a_state_on_other_grounds_is_refused_in_words(fact: str, value: Any, said: str) -> None:
    with pytest.raises(SettingError) as refused:
        check_grounds(state(**{fact: value}).facts, GROUNDS)

    assert refused.value.cause == f"The trained state of 'r' belongs to {said}."
    assert refused.value.next_step == "Train it again: lorauter fit r."


def test_grounds_survive_json_and_what_is_not_at_hand_is_not_compared() -> None:
    facts = json.loads(json.dumps(state(seed=0).facts))
    unseen = Grounds("r", "1", "org/base", "", "enc", {"t": "h"}, ("x@1",), {"width": 3}, None)

    assert differences(facts, GROUNDS) == []
    assert differences({**facts, "examples": "others"}, unseen) == []


def test_states_and_routers_load_no_torch() -> None:
    program = "import sys, lorauter.routers, lorauter.train.fits; sys.exit('torch' in sys.modules)"

    subprocess.run([sys.executable, "-c", program], check=True)
