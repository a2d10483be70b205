"""Adapters out of a trained state: PEFT's Poly with the same logits, in a folder that says where it is from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PolyConfig, get_peft_model

from catalog.errors import SettingError
from lorauter.adapters.skills import Skills, new_skills, skills_of, tensors_of
from lorauter.adapters.weights import read_adapter
from lorauter.compositions.task_adapters import TaskAdapters
from lorauter.engine.engine import Engine
from lorauter.trained.state import TrainedState, no_state_here
from lorauter.trained.task_adapters import read_task_key, task_key

TASKS = ("colours", "animals", "compass")
PROMPTS = ["What colour is the cat?\nAnswer:", "North or south?\nAnswer:"]
RANK = 3


def drawn(heads: int) -> Skills:
    """Random skills of the tiny base, B and logits too."""
    shapes = {
        f"model.layers.{layer}.self_attn.{name}": (64, 64 if name == "q_proj" else 32)
        for layer in (0, 1)
        for name in ("q_proj", "v_proj")
    }
    skills = new_skills(shapes, TASKS, skills=4, heads=heads, rank=RANK, scaling=1 / RANK, seed=5)
    draw = torch.Generator().manual_seed(6)
    tensors = {
        name: tensor if name.startswith("a.") else torch.randn(tensor.shape, generator=draw)
        for name, tensor in tensors_of(skills).items()
    }
    return skills_of(tensors, TASKS, skills.scaling)


def state_of(skills: Skills, **facts: Any) -> TrainedState:
    """The skills as `lorauter fit mhr` stores them."""
    told = {
        "router": "mhr",
        "base": "tiny/llama",
        "base_sha": "c0ffee",
        "outputs": list(TASKS),
        "scaling": skills.scaling,
        "options": {"skills": 4, "heads": 4},
        "sources": {"animals": ["train", 12]},
        "steps": 7,
        "ended": "all steps",
        "seed": 2,
    }
    return TrainedState({name: tensor.numpy() for name, tensor in tensors_of(skills).items()}, told | facts)


def poly_with(base: Any, skills: Skills, heads: int) -> Any:
    """PEFT's Poly that holds the same numbers, in eval mode."""
    config = PolyConfig(
        task_type="CAUSAL_LM",
        r=RANK,
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
    state = state_of(skills)
    made = TaskAdapters({state.sha: state}.__getitem__, tmp_path)
    engine = Engine(base, device="cpu", dtype="float32", find_adapter=made.folder)
    poly = poly_with(AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32), skills, heads)

    for place, task in enumerate(TASKS):
        mixture = ((task_key("mhr", task, state.sha), 1.0),)
        for prompt in PROMPTS:
            ours, bare = (engine.next_logits([prompt], [served]) for served in (mixture, ()))
            ids = engine.tokenizer(prompt, return_tensors="pt").input_ids
            with torch.no_grad():
                theirs = poly(input_ids=ids, task_ids=torch.tensor([place])).logits[:, -1]
            assert (ours - theirs).abs().max() <= 1e-5
            assert (ours - bare).abs().max() > 1e-2


def test_a_folder_is_made_once_and_says_where_it_is_from(tmp_path: Path) -> None:
    state = state_of(drawn(4))
    reads: list[str] = []

    def read_state(sha: str) -> TrainedState:
        reads.append(sha)
        return state

    key = task_key("mhr", "animals", state.sha)
    folder = TaskAdapters(read_state, tmp_path).folder(key)
    again = TaskAdapters(read_state, tmp_path).folder(key)

    card, config = (folder / "README.md").read_text(), json.loads((folder / "adapter_config.json").read_text())
    assert (folder, reads) == (again, [state.sha])
    assert (config["base_model_name_or_path"], config["r"], config["lora_alpha"]) == ("tiny/llama", RANK, RANK)
    assert {pair.a.shape[0] for pair in read_adapter(folder).modules.values()} == {RANK}
    for said in (f"trained state: mhr {state.sha}", "seed 2; of this one (split, examples): ['train', 12]", "c0ffee"):
        assert said in card


def test_keys_name_router_task_and_state_and_no_repo_of_a_hub() -> None:
    made = read_task_key("poly:verb_past@ab12")

    assert made is not None
    assert (made.repo, made.path, made.sha) == ("poly", "verb_past", "ab12")
    assert [read_task_key(key) for key in ("ann/poly:verb_past@ab12", "ann/x@1", "poly@1", "")] == [None] * 4


def test_what_no_state_makes_is_refused(tmp_path: Path) -> None:
    skills = drawn(4)
    other = state_of(skills, outputs=["a", "b"])
    read = {"1": state_of(skills), "2": other, "3": state_of(skills, scaling=None)}.__getitem__
    faults = {
        "ann/x@1": "is no adapter of a trained state",
        "mhr:gone@1": "no logits of a task 'gone'",
        "mhr:a@2": "for 2 tasks",
        "mhr:a@3": "names no tasks, no scaling or no base",
    }
    for key, said in faults.items():
        with pytest.raises(SettingError, match=said):
            TaskAdapters(read, tmp_path).folder(key)
    with pytest.raises(SettingError, match="is not on this machine"):
        TaskAdapters(no_state_here, tmp_path).folder("mhr:a@4")
