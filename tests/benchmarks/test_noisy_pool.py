"""The noisy pool: what is done to weights, which adapters a plan holds, what a repo says of itself."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from benchmarks.noisy_kinds import interpolated, perturbed
from benchmarks.noisy_plan import HONEST, KINDS, OWN, plan
from benchmarks.noisy_pool import PoolMaker, build, off_task_tasks, training
from catalog.errors import SettingError
from flows.demo.build_pool import HUB
from flows.demo.tasks import SPECS, build_task
from lorauter.adapters.weights import read_adapter, weights_of

MODULE = "base_model.model.q_proj"
STRANGERS = {"sums-r8": "sums", "sums-few": "sums", "maps-r8": "maps"}


def test_noise_has_the_stated_share_of_each_tensors_norm() -> None:
    tensors = {"a": torch.tensor([[3.0, 4.0]]), "b": torch.full((4, 4), 0.5)}
    noisy = perturbed(tensors, 2.0, seed=7)
    norms = {name: float(torch.linalg.norm(noisy[name] - tensors[name])) for name in tensors}
    assert norms == pytest.approx({"a": 10.0, "b": 4.0})


def test_noise_of_one_seed_is_one_noise_and_keeps_dtype_and_zeros() -> None:
    tensors = {"a": torch.ones(2, 3, dtype=torch.bfloat16), "zero": torch.zeros(2, 2)}
    first, again, other = (perturbed(tensors, 0.5, seed) for seed in (1, 1, 2))
    assert torch.equal(first["a"], again["a"])
    assert not torch.equal(first["a"], other["a"])
    assert (first["a"].dtype, first["zero"].tolist()) == (torch.bfloat16, [[0, 0], [0, 0]])


def adapter(a: list[list[float]], b: list[list[float]], alpha: int, **config: object) -> tuple[dict[str, object], dict]:  # type: ignore[type-arg]
    """Config and tensors of an adapter at one module."""
    plain = {"peft_type": "LORA", "r": len(a), "lora_alpha": alpha, "target_modules": ["q_proj"]}
    tensors = {f"{MODULE}.lora_A.weight": torch.tensor(a), f"{MODULE}.lora_B.weight": torch.tensor(b)}
    return {**plain, **config}, tensors


def test_an_interpolation_is_the_one_of_the_products() -> None:
    first = adapter([[1.0, 2.0]], [[1.0], [0.0]], alpha=2)  # ΔW = 2·[[1, 2], [0, 0]]
    second = adapter([[1.0, 0.0], [0.0, 1.0]], [[0.0, 1.0], [4.0, 0.0]], alpha=4, use_rslora=True)
    config, tensors = interpolated(first, second, 0.25)
    pair = weights_of(config, tensors).modules["q_proj"]
    delta = pair.scaling * pair.b @ pair.a
    scaling = 4 / 2**0.5  # rsLoRA: alpha / √r
    expected = torch.tensor([[0.5, 1.0 + 0.75 * scaling], [3.0 * scaling, 0.0]])
    torch.testing.assert_close(delta, expected)
    assert (config["r"], config["lora_alpha"], config["use_rslora"], pair.scaling) == (3, 3, False, 1.0)


def test_adapters_of_other_modules_are_not_interpolated() -> None:
    first = adapter([[1.0]], [[1.0]], alpha=1)
    tensors = {name.replace("q_proj", "v_proj"): tensor for name, tensor in first[1].items()}
    with pytest.raises(ValueError, match="adapt other modules"):
        interpolated(first, ({**first[0], "target_modules": ["v_proj"]}, tensors), 0.5)


def test_kinds_take_equal_parts_and_a_longer_plan_begins_with_the_shorter() -> None:
    short, long = plan(40, STRANGERS), plan(180, STRANGERS)
    assert long[:40] == short
    assert Counter(one.kind for one in short) == dict.fromkeys(KINDS, 8)
    assert Counter(one.kind for one in long) == dict.fromkeys(KINDS, 36)


def test_a_plan_of_the_largest_pool_has_no_name_twice() -> None:
    found = plan(1480, STRANGERS)
    assert len({one.name for one in found} | {recipe.name for recipe in HONEST}) == 1500


def test_every_task_is_claimed_and_every_interpolation_is_of_two_tasks() -> None:
    found = plan(180, STRANGERS)
    assert {one.task for one in found if one.kind == "shuffled"} == {spec.name for spec in SPECS}
    pairs = [(one.task, one.other) for one in found if one.kind == "interpolated"]
    assert pairs and [pair for pair in pairs if pair[0] == pair[1]] == []


def test_an_off_task_adapter_taken_again_gets_a_little_noise() -> None:
    amounts = [one.amount for one in plan(35, STRANGERS) if one.kind == "off-task"]
    assert amounts == pytest.approx([0, 0, 0, 0.1, 0.1, 0.1, 0.2])


def test_shuffled_and_undertrained_are_trained_by_their_recipes() -> None:
    recipes = {one.kind: training(one) for one in plan(5, STRANGERS) if one.kind in ("shuffled", "undertrained")}
    told = {kind: (r.shuffled_labels, r.examples, r.epochs, r.batch_size) for kind, r in recipes.items()}
    assert told == {"shuffled": (True, 96, 2, 8), "undertrained": (False, 16, 1, 16)}


@pytest.fixture
def maker(tmp_path: Path) -> PoolMaker:
    """A maker with one off-task adapter: a copy of one of the demo's under another name and card."""
    source = tmp_path / "strange" / "sums-permuted"
    source.mkdir(parents=True)
    for path in (HUB / OWN["noun_plural"].name).iterdir():
        (source / path.name).write_bytes(path.read_bytes())
    (source / "README.md").write_text("# sums-permuted\n\n- `sums`: Adds.\n\nHonest.\n")
    return PoolMaker(tmp_path / "hub", tmp_path / "strange", tmp_path / "no-base", [build_task(s) for s in SPECS])


def test_what_needs_no_training_is_made_alike_twice_and_served(maker: PoolMaker, tmp_path: Path) -> None:
    made = [one for one in plan(5, off_task_tasks(tmp_path / "strange")) if one.source]
    weights = []
    for _ in range(2):
        for one in made:
            maker.make(one)
        weights.append([(tmp_path / "hub" / o.name / "adapter_model.safetensors").read_bytes() for o in made])
        (tmp_path / "hub").rename(tmp_path / f"hub-{len(weights)}")
    assert weights[0] == weights[1]
    ranks = {
        one.kind: {pair.a.shape[0] for pair in read_adapter(tmp_path / "hub-1" / one.name).modules.values()}
        for one in made
    }
    assert ranks == {"perturbed": {4}, "interpolated": {12}, "off-task": {8}}


def test_a_repo_says_nothing_of_its_kind(maker: PoolMaker, tmp_path: Path) -> None:
    perturbed_one, _, off_task = [one for one in plan(5, off_task_tasks(tmp_path / "strange")) if one.source]
    for one in (perturbed_one, off_task):
        maker.make(one)
    claimed, honest = ((tmp_path / "hub" / o.name / "README.md").read_text() for o in (perturbed_one, off_task))
    assert "- `phrase_language`: Name the language of a phrase" in claimed
    assert honest == f"# {off_task.name.split('/')[1]}\n\n- `sums`: Adds.\n\nHonest.\n"
    config = json.loads((tmp_path / "hub" / perturbed_one.name / "adapter_config.json").read_text())
    assert config == json.loads((HUB / OWN["phrase_language"].name / "adapter_config.json").read_text())


def test_an_off_task_adapter_keeps_its_weights(maker: PoolMaker, tmp_path: Path) -> None:
    one = plan(4, off_task_tasks(tmp_path / "strange"))[3]
    maker.make(one)
    made, source = (
        load_file(folder / "adapter_model.safetensors")
        for folder in (tmp_path / "hub" / one.name, tmp_path / "strange" / one.source)
    )
    assert made and made.keys() == source.keys()
    assert all(torch.equal(made[name], source[name]) for name in made)


def test_a_folder_without_adapters_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="holds no adapters"):
        off_task_tasks(tmp_path)


def test_a_pool_of_other_off_task_adapters_is_not_mixed_with(maker: PoolMaker, tmp_path: Path) -> None:
    strange, out = tmp_path / "strange", tmp_path / "pool"
    (tmp_path / "base").mkdir()
    build(out, tmp_path / "base", strange, 4, kinds=("off-task",))
    told = json.loads((out / "kinds.json").read_text())
    assert [(one["kind"], one["source"]) for one in told.values()][3] == ("off-task", "sums-permuted")
    (strange / "sums-permuted").rename(strange / "sums-r8")
    with pytest.raises(SettingError, match="holds another pool"):
        build(out, tmp_path / "base", strange, 4, kinds=("off-task",))


def test_a_shorter_plan_keeps_what_is_told_of_a_longer_one(maker: PoolMaker, tmp_path: Path) -> None:
    out, strange = tmp_path / "pool", tmp_path / "strange"
    (tmp_path / "base").mkdir()
    build(out, tmp_path / "base", strange, 9, kinds=())
    build(out, tmp_path / "base", strange, 4, kinds=())
    assert list(json.loads((out / "kinds.json").read_text())) == [one.name for one in plan(9, off_task_tasks(strange))]
