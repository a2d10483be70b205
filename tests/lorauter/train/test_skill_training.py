"""Training skills: the same seed gives the same bytes, a stopped run goes on, few-shot trains what it says alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save

from catalog.errors import SettingError
from catalog.tasks.task import Example, Task
from lorauter.adapters.skills import Skills, tensors_of
from lorauter.train.frozen_base import frozen_base
from lorauter.train.skill_options import Schedule, SkillShape
from lorauter.train.skill_rows import split_task
from lorauter.train.skill_training import Sitting, TrainedSkills, adapt_skills, train_skills

SHAPE = SkillShape(skills=2, heads=2, rank=2)
SCHEDULE = Schedule(epochs=2, batch_size=4, look_every=2, learning_rate=0.02)


def task_of(name: str, answer: str, train: bool = True) -> Task:
    shown = tuple(Example(f"{name} {n}", answer) for n in range(8))
    held = tuple(Example(f"{name} watched {n}", answer) for n in range(4))
    return Task(name, "exact_match", held, test=(Example(f"{name} test", "never"),), train=shown if train else ())


TASKS = [task_of("a", "yes"), task_of("b", "no"), task_of("c", "so", train=False)]


@pytest.fixture(scope="module")
def base(tiny_hub_folder: Path) -> Any:
    return frozen_base(tiny_hub_folder / "tiny/llama", "cpu")


@pytest.fixture
def sitting(tmp_path: Path) -> Sitting:
    return Sitting(tmp_path)


def trained(base: Any, sitting: Sitting, schedule: Schedule = SCHEDULE) -> TrainedSkills:
    return train_skills(*base, TASKS, SHAPE, schedule, sitting)


def bytes_of(skills: Skills) -> bytes:
    content: bytes = save(tensors_of(skills))
    return content


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(base: Any, sitting: Sitting) -> None:
    first, second, other = trained(base, sitting), trained(base, sitting), trained(base, replace(sitting, seed=1))

    assert bytes_of(first.skills) == bytes_of(second.skills) != bytes_of(other.skills)


def test_a_run_that_was_stopped_goes_on_to_the_same_bytes(
    base: Any, sitting: Sitting, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Stopped(Exception):
        pass

    def stop(step: int, _steps: int, _loss: float) -> None:
        if step == 4:
            raise Stopped

    seen: list[int] = []
    kept = Sitting(tmp_path / "kept", progress=stop)
    whole = trained(base, sitting)
    monkeypatch.setattr("lorauter.train.steps.CHECKPOINT_SECONDS", 0)
    with pytest.raises(Stopped):
        trained(base, kept)
    resumed = trained(base, replace(kept, progress=lambda step, _steps, _loss: seen.append(step)))

    assert bytes_of(resumed.skills) == bytes_of(whole.skills)
    assert seen == [4, 5, 6, 7, 8, 9, 10]  # step 4 was told, not yet kept


def test_what_is_given_back_has_the_lowest_watched_loss_and_learned(base: Any, sitting: Sitting) -> None:
    run = trained(base, sitting, replace(SCHEDULE, epochs=8))
    looks = [seen for _, _, seen in run.learned.facts["loss"]]

    assert min(looks) < looks[0] - 0.3
    assert looks.index(min(looks)) == run.learned.facts["best_step"] / 2 - 1
    assert run.sources == {"a": ("train", 8), "b": ("train", 8), "c": ("validation", 3)}


def test_logits_learn_at_a_rate_of_their_own(base: Any, sitting: Sitting) -> None:
    still = replace(SCHEDULE, epochs=8, logit_rate=0.0)
    start = tensors_of(trained(base, sitting, replace(still, learning_rate=0.0)).skills)

    rates = tensors_of(trained(base, sitting, still).skills)
    moved = tensors_of(trained(base, sitting, replace(still, logit_rate=0.1)).skills)

    logits = [name for name in start if name.startswith("logits.")]
    assert all(torch.equal(rates[name], start[name]) == (name in logits) for name in start)
    assert all(float((moved[name] - start[name]).abs().max()) > 0.01 for name in logits)


def test_z_trains_logits_alone_and_mu_one_plain_lora(base: Any, sitting: Sitting) -> None:
    skills, task = trained(base, sitting).skills, task_of("new", "maybe")
    start = {name: tensor.clone() for name, tensor in tensors_of(skills).items()}

    z = tensors_of(adapt_skills(*base, task, skills, "z", SCHEDULE, sitting).skills)
    mu = adapt_skills(*base, task, skills, "mu", SCHEDULE, sitting).skills
    whole = tensors_of(adapt_skills(*base, task, skills, "all", SCHEDULE, sitting).skills)

    assert all(torch.equal(z[name], start[name]) for name in start if not name.startswith("logits."))
    assert any(float(z[name].abs().max()) > 0.01 for name in start if name.startswith("logits."))
    assert {module.a.shape[1] for module in mu.modules.values()} == {1}
    assert mu.tasks == ("new",)
    for name, module in mu.modules.items():
        assert not torch.equal(module.a[:, 0], skills.modules[name].a.mean(1))
        assert not bool(module.logits.any())
    assert not any(torch.equal(whole[name], start[name]) for name in start)
    assert all(torch.equal(tensor, start[name]) for name, tensor in tensors_of(skills).items())  # left as they were


def test_a_task_learns_from_train_or_else_from_validation_that_is_not_watched_and_never_from_test() -> None:
    with_train, without = split_task(TASKS[0], 0.25, None, 0), split_task(TASKS[2], 0.25, None, 0)

    assert (len(with_train.train), len(with_train.watched), with_train.source) == (8, 1, "train")
    assert (len(without.train), len(without.watched), without.source) == (3, 1, "validation")
    assert {example.input for example in without.train + without.watched} == {f"c watched {n}" for n in range(4)}


def test_a_task_without_anything_to_learn_from_is_refused() -> None:
    with pytest.raises(SettingError, match="has no training examples"):
        split_task(replace(TASKS[2], validation=TASKS[2].validation[:1]), 0.25, None, 0)
