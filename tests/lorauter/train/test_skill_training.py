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
from lorauter.train.skill_forward import frozen_base
from lorauter.train.skill_rows import split_task
from lorauter.train.skill_training import Look, Schedule, SkillShape, TrainedSkills, adapt_skills, train_skills

SHAPE = SkillShape(skills=2, heads=2, rank=2)
SCHEDULE = Schedule(epochs=2, batch_size=4, look_every=2, learning_rate=0.02)


def task_of(name: str, answer: str, train: bool = True) -> Task:
    shown = tuple(Example(f"{name} {n}", answer) for n in range(8))
    held = tuple(Example(f"{name} watched {n}", answer) for n in range(4))
    return Task(name, "exact_match", held, test=(Example(f"{name} test", "never"),), train=shown if train else ())


TASKS = [task_of("a", "yes"), task_of("b", "no"), task_of("c", "so", train=False)]


@pytest.fixture(scope="module")
def base(tiny_hub_folder: Path) -> Any:
    return frozen_base(tiny_hub_folder / "tiny/llama")


def trained(base: Any, schedule: Schedule = SCHEDULE, **more: Any) -> TrainedSkills:
    return train_skills(*base, "tiny/llama@1", TASKS, SHAPE, schedule, **more)


def bytes_of(skills: Skills) -> bytes:
    content: bytes = save(tensors_of(skills))
    return content


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(base: Any) -> None:
    first, second, other = trained(base), trained(base), trained(base, replace(SCHEDULE, seed=1))

    assert bytes_of(first.skills) == bytes_of(second.skills) != bytes_of(other.skills)


def test_a_run_that_was_stopped_goes_on_to_the_same_bytes(base: Any, tmp_path: Path) -> None:
    class Stopped(Exception):
        pass

    def stop(look: Look) -> None:
        raise Stopped

    looks: list[int] = []
    with pytest.raises(Stopped):
        trained(base, checkpoint=tmp_path / "run", tell=stop)
    resumed = trained(base, checkpoint=tmp_path / "run", tell=lambda look: looks.append(look.step))

    assert bytes_of(resumed.skills) == bytes_of(trained(base).skills)
    assert looks == [4, 6, 8, 10]  # 10 steps; the first look, after 2, was before the stop


def test_a_checkpoint_of_another_run_is_refused(base: Any, tmp_path: Path) -> None:
    trained(base, checkpoint=tmp_path / "run")
    with pytest.raises(SettingError, match="checkpoint of another run"):
        trained(base, replace(SCHEDULE, seed=1), checkpoint=tmp_path / "run")
    (tmp_path / "run").write_bytes(b"half")
    with pytest.raises(SettingError, match="is no checkpoint of skills"):
        trained(base, checkpoint=tmp_path / "run")


def test_what_is_given_back_has_the_lowest_watched_loss_and_learned(base: Any) -> None:
    looks: list[Look] = []
    run = trained(base, replace(SCHEDULE, epochs=8), tell=looks.append)

    assert run.watched == min(look.watched for look in looks)
    assert run.watched < looks[0].watched - 0.3
    assert run.sources == {"a": ("train", 8), "b": ("train", 8), "c": ("validation", 3)}


def test_the_bound_in_seconds_ends_a_run_with_what_it_has(base: Any) -> None:
    run = trained(base, replace(SCHEDULE, seconds=0.0))

    assert (run.ended, run.steps) == ("seconds", 1)


def test_patience_ends_a_run_that_gets_no_better(base: Any) -> None:
    run = trained(base, replace(SCHEDULE, learning_rate=0.0, logit_rate=0.0, epochs=4, patience=2))

    assert (run.ended, run.steps) == ("patience", 6)  # the first look is the best; two more are no better


def test_z_trains_logits_alone_and_mu_one_plain_lora(base: Any) -> None:
    skills, task = trained(base).skills, task_of("new", "maybe")
    start = tensors_of(skills)
    z = tensors_of(adapt_skills(*base, "tiny/llama@1", task, skills, "z", SCHEDULE).skills)
    mu = adapt_skills(*base, "tiny/llama@1", task, skills, "mu", SCHEDULE).skills

    assert all(torch.equal(z[name], start[name]) for name in start if not name.startswith("logits."))
    assert any(float(z[name].abs().max()) > 0.01 for name in start if name.startswith("logits."))
    assert {module.a.shape[1] for module in mu.modules.values()} == {1}
    assert mu.tasks == ("new",)
    for name, module in mu.modules.items():
        assert not torch.equal(module.a[:, 0], skills.modules[name].a.mean(1))
        assert not bool(module.logits.any())


def test_a_task_learns_from_train_or_else_from_validation_that_is_not_watched_and_never_from_test() -> None:
    with_train, without = split_task(TASKS[0], 0.25, None, 0), split_task(TASKS[2], 0.25, None, 0)

    assert (len(with_train.train), len(with_train.watched), with_train.source) == (8, 1, "train")
    assert (len(without.train), len(without.watched), without.source) == (3, 1, "validation")
    assert {example.input for example in without.train + without.watched} == {f"c watched {n}" for n in range(4)}


def test_a_task_without_anything_to_learn_from_is_refused() -> None:
    with pytest.raises(SettingError, match="has no training examples"):
        split_task(replace(TASKS[2], validation=TASKS[2].validation[:1]), 0.25, None, 0)
