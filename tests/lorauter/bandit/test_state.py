"""The policy's state: written and read whole, refused where it does not fit together, replayed to the last bit."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

from catalog.errors import SettingError
from lorauter.bandit.contexts import Basis
from lorauter.bandit.lessons import Lesson, learn, replay
from lorauter.bandit.polar import PolarOptions
from lorauter.bandit.state import PolarState, fresh_state, read_state, with_arms, write_state

ADAPTERS = ("ann/legal@1", "bob/medical@1", "eve/jokes@1")


def new_state(adapters=ADAPTERS) -> PolarState:
    basis = Basis.of(np.random.default_rng(0).normal(size=(5, 12)).astype(np.float32), 3)
    options = PolarOptions(size=2, first_epoch=16, kappa=0.1)
    return with_arms(fresh_state(options, basis, "org/base", "sha", "encoder", 0.05, seed=3), adapters)


def lessons_of(state: PolarState, count: int, seed: int, start: int = 0) -> list[Lesson]:
    """What a user scored of answers that the policy chose one by one."""
    rng = np.random.default_rng(seed)
    queries = rng.normal(size=(count, 12)).astype(np.float32)
    told = []
    for number, x in enumerate(state.basis.contexts(queries), start):
        arm, _ = state.polar.choose(x, np.float64(rng.random()))
        score = round(float(rng.random()), 2)
        told.append(Lesson(f"answer {number}", state.names[arm], tuple(x.tolist()), score, f"{number:04d}"))
    return told


def same(one: PolarState, other: PolarState) -> bool:
    pairs = [(getattr(one.polar, name), getattr(other.polar, name)) for name in ("cached", "pulls", "allowed", "costs")]
    pairs += [(one.polar.arms.v, other.polar.arms.v), (one.polar.arms.b, other.polar.arms.b)]
    pairs += [(np.array(one.polar.contexts), np.array(other.polar.contexts))]
    told = [
        (s.names, s.lineage, s.learned, s.seed, s.load_cost, s.polar.epoch, s.polar.seen, s.polar.total, s.resident)
        for s in (one, other)
    ]
    return told[0] == told[1] and all(np.array_equal(a, b) for a, b in pairs)


def test_a_state_is_read_as_it_was_written_and_goes_on_alike(tmp_path):
    state = new_state()
    learn(state, lessons_of(state, 40, seed=1))
    write_state(tmp_path / "a.safetensors", state)

    back = read_state(tmp_path / "a.safetensors")

    assert same(state, back)
    assert back.polar.epoch == 1  # 16 requests, then 24 of the 32 of the second epoch
    more = lessons_of(state, 40, seed=2, start=40)
    assert more == lessons_of(back, 40, seed=2, start=40)
    write_state(tmp_path / "b.safetensors", back)
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()


def test_a_replay_of_all_lessons_is_the_run_that_learned_them_batch_by_batch(tmp_path):
    online, told = new_state(), []
    for batch in range(5):
        told += lessons_of(online, 17, seed=batch, start=len(told))
        assert learn(online, told) == 17
        write_state(tmp_path / f"{batch}.safetensors", online)  # every batch is another process
        online = read_state(tmp_path / f"{batch}.safetensors")

    replayed = replay(new_state(), told[::-1], list(online.learned))

    assert same(online, replayed)
    assert online.polar.total == 85


def test_a_lesson_teaches_once_and_a_new_score_corrects_it():
    told = lessons_of(new_state(), 1, seed=4)
    better = replace(told[0], score=1.0, at="later")
    once, corrected, at_first = new_state(), new_state(), new_state()

    assert [learn(once, told), learn(once, told)] == [1, 0]
    learn(corrected, told)
    assert learn(corrected, [*told, better]) == 1
    learn(at_first, [better])

    np.testing.assert_array_equal(once.polar.arms.v, at_first.polar.arms.v)
    np.testing.assert_allclose(corrected.polar.arms.b, at_first.polar.arms.b, atol=1e-15)
    assert corrected.polar.total == 1  # one request, whatever was said of it


def test_a_new_catalog_adds_arms_and_leaves_those_alone_that_have_gone():
    state = new_state()
    learn(state, lessons_of(state, 20, seed=5))

    other = with_arms(state, ["bob/medical@1", "zoe/new@1"])

    assert other.names == ("", *ADAPTERS, "zoe/new@1")
    assert other.polar.allowed.tolist() == [True, False, True, False, True]
    np.testing.assert_array_equal(other.polar.arms.b[:4], state.polar.arms.b)
    assert not set(other.resident) & {"ann/legal@1", "eve/jokes@1"}
    assert other.lineage == state.lineage


def changed(path, told=None, arrays=None):
    with safe_open(path, "np") as file:
        header = json.loads(file.metadata()["lorauter_polar"])
        kept = {name: file.get_tensor(name) for name in list(file.keys())}
    header.update(told or {})
    kept.update(arrays or {})
    save_file(kept, path, metadata={"lorauter_polar": json.dumps(header)})


@pytest.mark.parametrize(
    ("told", "arrays", "cause"),
    [
        ({"format": "9"}, {}, "its format is '9'"),
        ({"names": ["", "a", "a", "b"]}, {}, "named twice"),
        ({"seen": 99}, {}, "counts do not fit"),
        ({"seen": -1}, {}, "-1 is no count"),
        ({"options": {"size": 0}}, {}, "size 0"),
        ({"options": {"ridge": float("nan")}}, {}, "ridge is nan"),
        ({"load_cost": 10**400}, {}, "OverflowError"),
        ({"epoch": 10**400}, {}, "is no count"),
        ({"base": None}, {}, "base is no text"),
        ({"names": ["", "a", None, "b"]}, {}, "names is no list of texts"),
        ({}, {"b": np.zeros((0, 4))}, "IndexError"),
        ({}, {"b": np.zeros((3, 4))}, "not float64"),
        ({}, {"b": np.full((4, 4), np.nan)}, "b is not finite"),
        ({}, {"v": np.zeros((4, 4, 4))}, "LinAlgError"),
        ({}, {"costs": np.full(4, -0.5)}, "a cost or a count is negative"),
        ({}, {"cached": np.zeros(4)}, "cached is float64"),
    ],
)
def test_a_state_whose_parts_do_not_fit_is_refused(tmp_path, told, arrays, cause):
    path = tmp_path / "state.safetensors"
    write_state(path, new_state())
    changed(path, told, arrays)

    with pytest.raises(SettingError, match=cause):
        read_state(path)


def test_a_file_that_is_cut_is_refused(tmp_path):
    path = tmp_path / "state.safetensors"
    write_state(path, new_state())
    path.write_bytes(path.read_bytes()[:-5])

    with pytest.raises(SettingError, match="cannot be used"):
        read_state(path)


def test_contexts_have_length_one_and_as_many_numbers_as_tasks_tell_apart():
    embeddings = np.random.default_rng(6).normal(size=(4, 12)).astype(np.float32)

    basis = Basis.of(embeddings, 8)

    assert basis.d == 4  # three directions tell four tasks apart, and the constant
    np.testing.assert_allclose(np.linalg.norm(basis.contexts(embeddings), axis=1), 1)
    assert Basis.of(embeddings[:1], 8).d == 1
