"""Hooks: how a batch's plan enters the base's forward pass.

Knows: modules' inputs and outputs, also of those that are given all rows' tokens in one line. Does not know: what a
plan adds (lorauter/engine/bank/batch_plan), which adapters are held.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

from catalog.errors import UnsupportedAdapter
from lorauter.engine.bank.batch_plan import BatchPlan, ModulePlan
from lorauter.engine.bank.deltas import add_deltas
from lorauter.engine.bank.gated_rows import GateRows

Hook = Callable[[nn.Module, tuple[torch.Tensor], torch.Tensor], torch.Tensor]


@contextmanager
def serving(
    plan: BatchPlan, linear: Callable[[str], nn.Linear | Conv1D], block: Callable[[str], nn.Module]
) -> Iterator[None]:
    """Within it, the base computes with the plan's adapters; outside it is the bare base.

    Args:
        plan: of a batch.
        linear: name → the base's module.
        block: name → the base's decoder block.
    """
    hooks = [
        linear(name).register_forward_hook(_by_row(plan, _mixture_hook(module, linear(name).bias)))
        for name, module in plan.modules.items()
    ]
    hooks += [  # last: a DoRA of a mixture must see the base's own output
        linear(name).register_forward_hook(_by_row(plan, _gated_hook(gated, name)))
        for gated in plan.gated
        for name in gated.modules
    ]
    hooks += [
        block(name).register_forward_pre_hook(_block_hook(plan, gated, name), with_kwargs=True)
        for gated in plan.gated
        for name in gated.blocks
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _by_row(plan: BatchPlan, hook: Hook) -> Hook:
    """A hook that sees (rows, tokens, …), also at modules that are given all rows' tokens in one line (OPT's MLP)."""

    def add(module: nn.Module, inputs: tuple[torch.Tensor], output: torch.Tensor) -> torch.Tensor:
        x = inputs[0]
        if x.ndim == 3 and len(x) == plan.rows:
            return hook(module, inputs, output)
        if x.ndim != 2 and len(x) != plan.rows:
            raise UnsupportedAdapter(
                f"The adapter targets a {type(module).__name__} that is given {tuple(x.shape)}, and no line a row.",
                "Leave it out of the pool.",
            )
        apart = x.reshape(plan.rows, -1, x.shape[-1]), output.view(plan.rows, -1, output.shape[-1])
        return hook(module, apart[:1], apart[1]).view(output.shape)

    return add


def _mixture_hook(plan: ModulePlan, bias: torch.Tensor | None) -> Hook:
    """Adds a module's part to its output, in place: the output is nobody else's yet."""

    def add(module: nn.Module, inputs: tuple[torch.Tensor], output: torch.Tensor) -> torch.Tensor:
        if plan.tilt is not None:
            plan.tilt.add(output, bias)
        for table, weighed in plan.parts:
            output = add_deltas(table, weighed, inputs[0], output)
        return output

    return add


def _gated_hook(gated: GateRows, name: str) -> Hook:
    """Adds what a gate weighs."""

    def add(module: nn.Module, inputs: tuple[torch.Tensor], output: torch.Tensor) -> torch.Tensor:
        return gated.add(name, inputs[0], output)

    return add


def _block_hook(plan: BatchPlan, gated: GateRows, name: str) -> Callable[..., None]:
    """Lets a gate read what enters a decoder block, before the block's first module computes."""

    def enter(module: nn.Module, inputs: tuple[torch.Tensor, ...], named: Mapping[str, torch.Tensor]) -> None:
        x = inputs[0] if inputs else named["hidden_states"]
        if x.ndim != 3 or len(x) != plan.rows:
            raise UnsupportedAdapter(
                f"The gate reads the input of a {type(module).__name__} that is given {tuple(x.shape)}, no line a row.",
                "Choose another router for this base.",
            )
        gated.enter(name, x)

    return enter
