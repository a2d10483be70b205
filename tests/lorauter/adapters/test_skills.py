"""Skills: the arithmetic of a task's LoRA, and files that are refused where they hold no skills."""

from __future__ import annotations

import pytest
import torch

from catalog.errors import SettingError
from lorauter.adapters.skills import Skills, new_skills, skills_of, task_adapter, tensors_of

TASKS = ("colours", "animals", "compass")
SHAPES = {"q_proj": (8, 8), "v_proj": (8, 4)}


def drawn() -> Skills:
    """Random skills of two heads, B too."""
    skills = new_skills(SHAPES, TASKS, skills=3, heads=2, rank=2, scaling=0.5, seed=5)
    draw = torch.Generator().manual_seed(6)
    tensors = {name: torch.randn(tensor.shape, generator=draw) for name, tensor in tensors_of(skills).items()}
    return skills_of(tensors, TASKS, skills.scaling)


def test_a_task_that_weighs_one_skill_is_that_skill() -> None:
    skills = drawn()
    for module in skills.modules.values():
        module.logits[1] = torch.tensor([-200.0, 200.0, -200.0])

    weights = task_adapter(skills, "animals")

    for name, pair in weights.modules.items():
        module = skills.modules[name]
        assert torch.allclose(pair.a, torch.cat(list(module.a[:, 1]), dim=1), atol=1e-6)
        assert torch.allclose(pair.b, torch.cat(list(module.b[:, 1]), dim=0), atol=1e-6)
        assert pair.scaling == 0.5


def test_parameters_are_averaged_before_the_product() -> None:
    skills = drawn()
    module = skills.modules["q_proj"]
    module.logits[0] = 0.0

    pair = task_adapter(skills, "colours").modules["q_proj"]

    a, b = module.a.mean(1), module.b.mean(1)
    assert torch.allclose(pair.b @ pair.a, torch.cat(list(b)) @ torch.cat(list(a), dim=1), atol=1e-6)
    assert pair.a.shape == (2, 8)


def test_skills_of_many_heads_have_as_many_parameters_as_one_lora_of_their_ranks_together() -> None:
    shared = new_skills(SHAPES, TASKS, skills=1, heads=1, rank=6, scaling=1.0, seed=0)

    assert drawn().parameters == shared.parameters == 6 * (8 + 8 + 8 + 4)


def test_tensors_that_are_no_skills_are_refused() -> None:
    tensors = tensors_of(drawn())
    faults = {
        "is missing": {name: tensor for name, tensor in tensors.items() if name != "b.q_proj"},
        "for 3 tasks": {**tensors, "logits.v_proj": tensors["logits.v_proj"][:2]},
        "not finite": {**tensors, "a.q_proj": tensors["a.q_proj"] * torch.nan},
        "tensors are not three": {**tensors, "more": torch.zeros(1)},
        "shapes": {**tensors, "a.q_proj": torch.zeros(2)},
    }
    for said, changed in faults.items():
        with pytest.raises(SettingError, match=said):
            skills_of(changed, TASKS, 1.0)


def test_heads_that_do_not_divide_a_module_are_refused() -> None:
    with pytest.raises(SettingError, match="5 heads do not divide q_proj"):
        new_skills(SHAPES, TASKS, skills=2, heads=5, rank=2, scaling=1.0, seed=0)


def test_a_task_without_logits_is_refused() -> None:
    with pytest.raises(SettingError, match="no logits of a task 'new'"):
        task_adapter(drawn(), "new")
