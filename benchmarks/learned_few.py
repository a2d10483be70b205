"""Forty examples of a task of two skills: what LoRA-Flow, learned weights, LoraHub, MHR and Poly make of them.

Knows: what each trains, from which start, and the routes that come of it. Does not know: how they are judged.

- lora_flow      W and b a block, over the adapters of both skills; the second skill's alone to begin with.
- learned b      the same with W = 0: weights of the task, not of the token.
- lorahub        two weights by LoraHub's search, on 5 examples.
- mhr, poly      the mean of the skills that all demo tasks share, trained on as one LoRA.
- shared         a LoRA of the same shape from nothing: what mhr and poly are before any training.
- told           both adapters at equal weights; first skill, second skill: one alone; base.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from benchmarks.learned_systems import part_adapters
from benchmarks.learned_world import TWO, Bench, Scores
from catalog.tasks.task import Task, content_hash
from lorauter.adapters.skills import Skills, new_skills, task_adapter
from lorauter.compositions.task_adapters import skills_of_state
from lorauter.gates.named import named_gate
from lorauter.gates.protocol import GatedRoute
from lorauter.routers.lorahub import EXAMPLES
from lorauter.routers.mixture_search import Labelled, SearchOptions, search_mixture
from lorauter.routing.routes import Route, Routed
from lorauter.train.adapters import tokenised
from lorauter.train.frozen_base import frozen_base
from lorauter.train.gate_parts import base_of
from lorauter.train.gate_texts import GateText, drawn
from lorauter.train.lora_flow import loss_of, starting_gate
from lorauter.train.skill_forward import shapes_of
from lorauter.train.skill_options import Schedule, SkillShape
from lorauter.train.skill_training import Sitting, adapt_skills
from lorauter.train.steps import Learned, Steps, train_steps
from lorauter.trained.state import TrainedState

if TYPE_CHECKING:
    import torch

FEW = "few_shot"
STEPS, BATCH, RATE = 50, 4, 1e-3
SKILL_EPOCHS, SKILL_BATCH = 4, 8
CONTROLS = ("base", "first skill", "second skill", "told")
LEARNED = ("lora_flow", "learned b", "lorahub", "mhr", "poly", "shared")
OF_A_STATE = ("mhr", "poly")
"""Those that begin at a state trained on the catalog."""


@dataclass(frozen=True, slots=True)
class Tried:
    """What a system came to. `seconds`: of its training, of all tasks together."""

    scores: Scores
    seconds: float


def few_shot(bench: Bench, system: str, seed: int) -> Tried:
    """A system on every task of two skills."""
    world = bench.worlds[TWO]
    routes: list[Routed] = []
    seconds = 0.0
    for task in world.tasks:
        route, spent = _route(bench, system, task, seed)
        seconds += spent
        routes += [route] * len(task.test)
    return Tried(bench.judged(world, routes), seconds)


def _route(bench: Bench, system: str, task: Task, seed: int) -> tuple[Routed, float]:
    first, second = part_adapters(bench, task.name)
    fixed: Mapping[str, Routed] = {
        "base": Route(()),
        "first skill": Route(((first, 1.0),)),
        "second skill": Route(((second, 1.0),)),
        "told": Route(((first, 0.5), (second, 0.5))),
    }
    if system in fixed:
        return fixed[system], 0.0
    if system == "lorahub":
        chosen = random.Random(seed).sample(task.train, EXAMPLES)
        examples = [Labelled(task.prompt(e.input), e.target) for e in chosen]
        return Route(search_mixture(bench.engine, (first, second), examples, SearchOptions(seed=seed))), 0.0
    if system in ("lora_flow", "learned b"):
        return _flow(bench, task, (first, second), seed, bias_alone=system == "learned b")
    return _skills(bench, system, task, seed)


def _flow(bench: Bench, task: Task, keys: tuple[str, str], seed: int, bias_alone: bool) -> tuple[Routed, float]:
    """The gate of a task over two adapters, trained on its examples; all steps are made, as the paper's epochs are."""
    base = base_of(bench.fit_parts, keys, half=True)
    gate = starting_gate(base, task.name)
    rows = tokenised(task, task.train, base.tokenizer)
    texts = [GateText(0, example.input, row) for example, row in zip(task.train, rows, strict=True)]
    learned = _trained(gate, partial(loss_of, base, gate, task.name), texts, seed, bias_alone)
    tensors = {name: tensor.detach().cpu().numpy() for name, tensor in (gate | learned.tensors).items()}
    facts = {"router": "lora_flow", "candidates": {task.name: list(keys)}, "adapters": list(keys), "seed": seed}
    state = bench.keep(TrainedState(tensors, facts))
    return GatedRoute(named_gate("lora_flow", keys, state.sha, task.name)), learned.seconds


def _trained(
    gate: Mapping[str, torch.nn.Parameter],
    loss: Callable[[Sequence[GateText]], torch.Tensor],
    texts: Sequence[GateText],
    seed: int,
    bias_alone: bool,
) -> Learned:
    parameters = {name: one for name, one in gate.items() if not bias_alone or name.endswith(".b")}
    with TemporaryDirectory() as folder:
        return train_steps(
            parameters,
            lambda _step, generator: loss(drawn(texts, BATCH, generator)),
            None,
            Steps(STEPS, RATE, weight_decay=0.0, warm_up=3),
            seed,
            float("inf"),
            lambda *_told: None,
            Path(folder),
        )


def _skills(bench: Bench, system: str, task: Task, seed: int) -> tuple[Routed, float]:
    """The mean of the skills, or of untrained ones, trained on the task's examples as one LoRA."""
    parts = bench.fit_parts
    assert parts.base_folder is not None
    model, tokenizer = frozen_base(parts.base_folder(), parts.device)
    if system in OF_A_STATE:
        skills = skills_of_state(bench.state(system, seed, start=False)[0])
    else:
        shape = SkillShape(heads=1)
        skills = new_skills(
            shapes_of(model, shape.targets),
            [task.name],
            skills=shape.skills,
            heads=shape.heads,
            rank=shape.rank,
            scaling=shape.scaling,
            seed=seed,
        )
    schedule = Schedule(epochs=SKILL_EPOCHS, batch_size=SKILL_BATCH, watch=0.0, look_every=1 << 20)
    with TemporaryDirectory() as folder:
        made = adapt_skills(model, tokenizer, task, skills, "mu", schedule, Sitting(Path(folder), seed=seed))
    key = f"few/{system}@{content_hash([task.name, seed, _bits(made.skills)], 32)}"
    bench.made[key] = task_adapter(made.skills, task.name)
    return Route(((key, 1.0),)), made.learned.seconds


def _bits(skills: Skills) -> list[list[float]]:
    """Something of a LoRA's numbers: others are another key."""
    return [[float(module.a.sum()), float(module.b.sum())] for module in skills.modules.values()]
