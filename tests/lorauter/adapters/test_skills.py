"""Skills: a task's plain LoRA says what PEFT's Poly says with the same logits, and files give back what they got."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PolyConfig, get_peft_model

from catalog.errors import SettingError
from lorauter.adapters.skills import Skills, new_skills, skills_of, task_adapter, tensors_of
from lorauter.adapters.weights import read_adapter
from lorauter.compositions.saving import save_merged
from lorauter.engine.engine import Engine

TASKS = ("colours", "animals", "compass")
PROMPTS = ["What colour is the cat?\nAnswer:", "North or south?\nAnswer:"]


def drawn(heads: int, rank: int = 3) -> Skills:
    """Random skills of the tiny base, B and logits too."""
    shapes = {
        f"model.layers.{layer}.self_attn.{name}": (64, 64 if name == "q_proj" else 32)
        for layer in (0, 1)
        for name in ("q_proj", "v_proj")
    }
    skills = new_skills(shapes, TASKS, skills=4, heads=heads, rank=rank, scaling=1 / rank, seed=5)
    draw = torch.Generator().manual_seed(6)
    tensors = {
        name: tensor if name.startswith("a.") else torch.randn(tensor.shape, generator=draw)
        for name, tensor in tensors_of(skills).items()
    }
    return skills_of(tensors, TASKS, skills.scaling)


def poly_with(base: Any, skills: Skills, heads: int) -> Any:
    """PEFT's Poly that holds the same numbers, in eval mode."""
    config = PolyConfig(
        task_type="CAUSAL_LM",
        r=3,
        target_modules=["q_proj", "v_proj"],
        n_tasks=len(TASKS),
        n_skills=4,
        n_splits=heads,
    )
    model = get_peft_model(base, config).eval()
    for name, module in skills.modules.items():
        layer = model.base_model.model.get_submodule(name)
        layer.poly_lora_A["default"].data = module.a.transpose(-1, -2).clone()
        layer.poly_lora_B["default"].data = module.b.transpose(-1, -2).clone()
        layer.poly_router["default"].module_logits.data = module.logits.flatten(1).clone()
    return model


@pytest.mark.parametrize("heads", [1, 4])
def test_peft_poly_with_set_logits_equals_the_engine_serving_the_materialised_adapter(
    heads: int, tiny_hub_folder: Path, tmp_path: Path
) -> None:
    from transformers import AutoModelForCausalLM

    base, skills = tiny_hub_folder / "tiny/llama", drawn(heads)
    for task in TASKS:
        save_merged(tmp_path / task, task_adapter(skills, task), "tiny/llama")
    engine = Engine(base, device="cpu", dtype="float32", find_adapter=lambda key: tmp_path / key)
    poly = poly_with(AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32), skills, heads)
    bare = engine.next_logits(PROMPTS[:1], [()])

    for place, task in enumerate(TASKS):
        for prompt in PROMPTS:
            ours = engine.next_logits([prompt], [((task, 1.0),)])
            ids = engine.tokenizer(prompt, return_tensors="pt").input_ids
            with torch.no_grad():
                theirs = poly(input_ids=ids, task_ids=torch.tensor([place])).logits[:, -1]
            assert (ours - theirs).abs().max() <= 1e-5
        assert (engine.next_logits(PROMPTS[:1], [((task, 1.0),)]) - bare).abs().max() > 1e-2


def test_a_task_that_weighs_one_skill_is_that_skill() -> None:
    skills = drawn(4)
    for module in skills.modules.values():
        module.logits[1] = torch.tensor([-200.0, 200.0, -200.0, -200.0])

    weights = task_adapter(skills, "animals")

    for name, pair in weights.modules.items():
        module = skills.modules[name]
        assert torch.allclose(pair.a, torch.cat(list(module.a[:, 1]), dim=1), atol=1e-6)
        assert torch.allclose(pair.b, torch.cat(list(module.b[:, 1]), dim=0), atol=1e-6)


def test_a_folder_is_one_plain_lora_of_the_skills_rank(tmp_path: Path) -> None:
    skills = drawn(4, rank=5)
    save_merged(tmp_path, task_adapter(skills, "compass"), "tiny/llama")

    read = read_adapter(tmp_path)

    assert {pair.a.shape[0] for pair in read.modules.values()} == {5}


def test_tensors_that_are_no_skills_are_refused() -> None:
    tensors = tensors_of(drawn(1))
    name = "model.layers.0.self_attn.q_proj"
    faults = {
        "is missing": {k: v for k, v in tensors.items() if k != f"b.{name}"},
        "for 2 tasks": {**tensors, f"logits.{name}": tensors[f"logits.{name}"][:2]},
        "not finite": {**tensors, f"a.{name}": tensors[f"a.{name}"] * torch.nan},
        "tensors are not three": {**tensors, "more": torch.zeros(1)},
    }
    for said, changed in faults.items():
        with pytest.raises(SettingError, match=said):
            skills_of(changed, TASKS[:2] if said == "for 2 tasks" else TASKS, 1.0)


def test_heads_that_do_not_divide_a_module_are_refused() -> None:
    with pytest.raises(SettingError, match="5 heads do not divide m"):
        new_skills({"m": (64, 64)}, TASKS, skills=2, heads=5, rank=2, scaling=1.0, seed=0)
