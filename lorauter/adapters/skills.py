"""Skills of Poly and MHR (arXiv 2211.03831): what many tasks share, and the logits by which each task weighs it.

Knows: the arithmetic, its tensors' names, the plain LoRA that a task comes to. Does not know: how skills are trained
(lorauter/train/skill_training), files, which query goes to which task.

A module has S skills, each a pair A (r, d_in) and B (d_out, r); A is cut into h heads along d_in, B along d_out. A task
has one logit a skill and head, at every module its own (the authors' `finegrained`, and PEFT's Poly):

    w = σ(z) / (Σ_S σ(z) + 1e-12)      A = Σ_S w A_s, B = Σ_S w B_s, head by head      ΔW = scaling · B A

The parameters are averaged before the product, so a task's ΔW is a plain LoRA of rank r. h = 1 is Poly.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import sqrt

import torch

from catalog.errors import SettingError
from lorauter.adapters.weights import AdapterWeights, LoraPair

EPSILON = 1e-12
START = 1e-3  # logits begin in U(-START, START)
Tensors = dict[str, torch.Tensor]


@dataclass(frozen=True, slots=True, eq=False)
class ModuleSkills:
    """The skills at one module.

    Args:
        a: (h, S, r, d_in / h).
        b: (h, S, d_out / h, r).
        logits: (tasks, h, S).
    """

    a: torch.Tensor
    b: torch.Tensor
    logits: torch.Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Skills:
    """All of it.

    Args:
        tasks: names, in the order of the logits.
        modules: by the dotted name of the base's module.
        scaling: of every task's LoRA.
    """

    tasks: tuple[str, ...]
    modules: Mapping[str, ModuleSkills]
    scaling: float

    @property
    def parameters(self) -> int:
        """Numbers in A and B of all modules, logits left out."""
        return sum(module.a.numel() + module.b.numel() for module in self.modules.values())


def new_skills(
    shapes: Mapping[str, tuple[int, int]],
    tasks: Sequence[str],
    *,
    skills: int,
    heads: int,
    rank: int,
    scaling: float,
    seed: int,
) -> Skills:
    """Skills before training: A in ±1/√(3 d_in) as the authors' code has it, B zero, logits in ±1e-3.

    Args:
        shapes: module → (d_in, d_out).

    Raises:
        SettingError: a number below 1, or a module that h heads do not divide.
    """
    if min(skills, heads, rank) < 1 or not tasks:
        raise SettingError(
            f"{skills} skills, {heads} heads and rank {rank} for {len(tasks)} tasks make no adapter.",
            "Use 1 or more of each.",
        )
    draw = torch.Generator().manual_seed(seed)
    modules = {}
    for name, (d_in, d_out) in sorted(shapes.items()):
        if d_in % heads or d_out % heads:
            raise SettingError(f"{heads} heads do not divide {name} ({d_in} → {d_out}).", "Use fewer heads.")
        a = _uniform((heads, skills, rank, d_in // heads), 1 / sqrt(3 * d_in), draw)
        b = torch.zeros(heads, skills, d_out // heads, rank)
        modules[name] = ModuleSkills(a, b, _uniform((len(tasks), heads, skills), START, draw))
    return Skills(tuple(tasks), modules, scaling)


def mixing_weights(logits: torch.Tensor) -> torch.Tensor:
    """w of logits (…, S), each head's near a sum of 1."""
    return normalised(torch.sigmoid(logits))


def normalised(shares: torch.Tensor) -> torch.Tensor:
    """Shares over S divided by their sum."""
    return shares / (shares.sum(-1, keepdim=True) + EPSILON)


def averaged(module: ModuleSkills, weights: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """A (…, r, d_in) and B (…, d_out, r) of mixing weights (…, h, S), heads joined."""
    a = torch.einsum("...hs,hsri->...rhi", weights, module.a)
    b = torch.einsum("...hs,hsor->...hor", weights, module.b)
    return a.flatten(-2), b.flatten(-3, -2)


def task_adapter(skills: Skills, task: str) -> AdapterWeights:
    """A task's plain LoRA. Raises SettingError: it has no logits."""
    if task not in skills.tasks:
        raise SettingError(f"The skills have no logits of a task {task!r}.", f"Use one of {', '.join(skills.tasks)}.")
    place = skills.tasks.index(task)
    pairs = {}
    for name, module in skills.modules.items():
        a, b = averaged(module, mixing_weights(module.logits[place].float()))
        pairs[name] = LoraPair(a, b, skills.scaling)
    return AdapterWeights(pairs)


def with_fresh_logits(skills: Skills, tasks: Sequence[str], seed: int) -> Skills:
    """The same skills for other tasks, whose logits stand at their start."""
    draw = torch.Generator().manual_seed(seed)
    modules = {
        name: replace(module, logits=_uniform((len(tasks), *module.logits.shape[1:]), START, draw))
        for name, module in skills.modules.items()
    }
    return replace(skills, tasks=tuple(tasks), modules=modules)


def mean_skill(skills: Skills, tasks: Sequence[str]) -> Skills:
    """One skill, the plain mean of all, for other tasks: where MHR-µ begins."""
    modules = {}
    for name, module in skills.modules.items():
        logits = torch.zeros(len(tasks), module.logits.shape[1], 1)
        modules[name] = ModuleSkills(module.a.mean(1, keepdim=True), module.b.mean(1, keepdim=True), logits)
    return replace(skills, tasks=tuple(tasks), modules=modules)


def tensors_of(skills: Skills) -> Tensors:
    """The skills as named tensors, for a safetensors file."""
    return {
        f"{part}.{name}": getattr(module, part).detach().contiguous()
        for name, module in sorted(skills.modules.items())
        for part in ("a", "b", "logits")
    }


def skills_of(tensors: Mapping[str, torch.Tensor], tasks: Sequence[str], scaling: float) -> Skills:
    """The inverse of `tensors_of`. Raises SettingError: a tensor is missing, or does not fit the others."""
    modules = {}
    for name in sorted(key.partition(".")[2] for key in tensors if key.startswith("a.")):
        try:
            module = ModuleSkills(*(tensors[f"{part}.{name}"] for part in ("a", "b", "logits")))
        except KeyError as error:
            raise _misfit(f"{error} is missing") from error
        if fault := _fault(module, len(tasks)):
            raise _misfit(f"{name}: {fault}")
        modules[name] = module
    if len(tensors) != 3 * len(modules) or not modules:
        raise _misfit(f"{len(tensors)} tensors are not three for each of {len(modules)} modules")
    return Skills(tuple(tasks), modules, scaling)


def _fault(module: ModuleSkills, tasks: int) -> str:
    shapes = [tuple(tensor.shape) for tensor in (module.a, module.b, module.logits)]
    if module.a.ndim != 4 or module.b.ndim != 4:
        return f"shapes {shapes}"
    heads, skills, rank, _ = module.a.shape
    if (*module.b.shape[:2], module.b.shape[3]) != (heads, skills, rank) or shapes[2] != (tasks, heads, skills):
        return f"shapes {shapes} for {tasks} tasks"
    finite = all(bool(torch.isfinite(tensor).all()) for tensor in (module.a, module.b, module.logits))
    return "" if finite else "a number is not finite"


def _misfit(what: str) -> SettingError:
    return SettingError(f"These are no skills of Poly or MHR ({what}).", "Train them again.")


def _uniform(shape: tuple[int, ...], bound: float, draw: torch.Generator) -> torch.Tensor:
    return (2 * torch.rand(shape, generator=draw) - 1) * bound
