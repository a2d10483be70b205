"""Skills at work in a base, out of place and with gradients, each row by its own task.

Knows: where the products enter, how weights are drawn in training. Does not know: losses, optimisation, files.

In training the weights are drawn, as the authors' code and PEFT do: a relaxed Bernoulli of temperature 1 for each row,
head and skill, σ(z + log u - log(1 - u)), u uniform; elsewhere they are σ(z). Both are divided by their sum.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import nn

from catalog.errors import SettingError
from lorauter.adapters.skills import ModuleSkills, Skills, averaged, mixing_weights, normalised

EDGE = 1e-6  # u keeps this far from 0 and 1


def shapes_of(model: nn.Module, targets: Sequence[str]) -> dict[str, tuple[int, int]]:
    """Module → (d_in, d_out) of the Linears whose last name is a target. Raises SettingError: there is none."""
    shapes = {
        name: (module.in_features, module.out_features)
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and name.rpartition(".")[2] in targets
    }
    if not shapes:
        raise SettingError(f"The base has no Linear named {' or '.join(targets)}.", "Name others as targets.")
    return shapes


class AppliedSkills:
    """Adds each row's ΔW x to the modules' outputs, while `rows` says which task a row has.

    Args:
        skills: their tensors are used as they are; those with gradients get them.
    """

    def __init__(self, skills: Skills) -> None:
        self._skills = skills
        self._pairs: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}

    @contextmanager
    def attached(self, model: nn.Module) -> Iterator[AppliedSkills]:
        """Within it, the model's modules add what the skills say."""
        hooks = [
            model.get_submodule(name).register_forward_hook(self._adding(name)) for name in sorted(self._skills.modules)
        ]
        try:
            yield self
        finally:
            for hook in hooks:
                hook.remove()

    def rows(self, tasks: Sequence[int], draw: torch.Generator | None = None) -> None:
        """The next forward passes have these tasks' rows; weights are drawn where `draw` is given."""
        self._pairs = {
            name: averaged(module, row_weights(module, tasks, draw)) for name, module in _sorted(self._skills.modules)
        }

    def _adding(self, name: str) -> Callable[[nn.Module, tuple[torch.Tensor, ...], torch.Tensor], torch.Tensor]:
        def add(_module: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> torch.Tensor:
            a, b = self._pairs[name]
            added = torch.bmm(torch.bmm(inputs[0], a.transpose(1, 2)), b.transpose(1, 2))
            return output + self._skills.scaling * added.to(output.dtype)

        return add


def row_weights(module: ModuleSkills, tasks: Sequence[int], draw: torch.Generator | None) -> torch.Tensor:
    """Mixing weights of rows: (rows, h, S)."""
    logits = module.logits[torch.tensor(list(tasks), device=module.logits.device)]
    if draw is None:
        return mixing_weights(logits)
    uniform = torch.rand(logits.shape, generator=draw).clamp(EDGE, 1 - EDGE).to(logits.device)
    return normalised(torch.sigmoid(logits + torch.logit(uniform)))


def _sorted(modules: Mapping[str, ModuleSkills]) -> list[tuple[str, ModuleSkills]]:
    """In one order, so that draws are the same whoever made the mapping."""
    return sorted(modules.items())
