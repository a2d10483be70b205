"""The base's modules that adapters change, and what an adapter comes to at one of them.

Knows: names, shapes, kinds of modules; scaling and DoRA's gain folded into B. Does not know: which adapters are held,
batches.

With B' = sB and d = 0 for a LoRA, and for a DoRA (arXiv 2402.09353) with magnitude m, g = m / ‖W + sBA‖ by rows,
B' = g ∘ sB and d = g - 1: the usual g ∘ (W + sBA)x, written as an addition to the base's output so that it mixes like a
LoRA.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TypeGuard

import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

from catalog.errors import UnsupportedAdapter
from lorauter.adapters.weights import LoraPair

_EXPERT = re.compile(r"(?:^|\.)experts\.\d+\.")


@dataclass(frozen=True, slots=True, eq=False)
class HeldPair:
    """One adapter at one module, on the device, with scaling folded in; on its way into a table.

    Args:
        a: (r, d_in).
        b: B'ᵀ, (r, d_out).
        d: DoRA's g - 1, (d_out,); None for a LoRA.
    """

    a: torch.Tensor
    b: torch.Tensor
    d: torch.Tensor | None


class BaseModules:
    """The Linears and Conv1Ds of a frozen base.

    Args:
        model: the base.
        device: its device.
        dtype: its dtype; adapters are folded in fp32 and held in this.
    """

    def __init__(self, model: nn.Module, device: str, dtype: torch.dtype) -> None:
        self._device, self._dtype = device, dtype
        self._modules: dict[str, nn.Module] = dict(model.named_modules())

    def fold(self, name: str, pair: LoraPair) -> HeldPair:
        """What is held of an adapter at one module.

        Raises:
            UnsupportedAdapter: as `linear`, or the shapes differ, or a number is not finite in the dtype.
        """
        weight = self.weight(name, pair)
        a = pair.a.to(self._device)
        b = pair.b.to(self._device, torch.float32) * pair.scaling
        if pair.magnitude is None:
            return HeldPair(self._placed(name, a), self._placed(name, b.T), None)
        norm = torch.linalg.vector_norm(weight.float() + b @ a.float(), dim=1)
        gain = pair.magnitude.to(self._device, torch.float32) / norm
        b = gain[:, None] * b
        return HeldPair(self._placed(name, a), self._placed(name, b.T), self._placed(name, gain - 1))

    def weight(self, name: str, pair: LoraPair) -> torch.Tensor:
        """W of the module that a pair changes, (d_out, d_in): a Conv1D stores it the other way round.

        Raises:
            UnsupportedAdapter: as `linear`, or the shapes differ.
        """
        base = self.linear(name)
        weight = base.weight.T if isinstance(base, Conv1D) else base.weight
        if weight.shape != (pair.b.shape[0], pair.a.shape[1]):
            raise UnsupportedAdapter(
                f"The adapter has a shape mismatch at {name}, a {type(base).__name__}: the base's weight is "
                f"{tuple(weight.shape)}, the adapter's {(pair.b.shape[0], pair.a.shape[1])}.",
                "Check that it was trained on this base.",
            )
        return weight

    def linear(self, name: str) -> nn.Linear | Conv1D:
        """The base's module of that name.

        Raises:
            UnsupportedAdapter: it is not in the base, is no Linear or Conv1D, or belongs to one expert of many.
        """
        module = self._modules.get(name)
        if module is None:
            raise UnsupportedAdapter(
                f"The adapter targets {name}, which the base lacks.",
                "Check that it was trained on this base.",
            )
        if _EXPERT.search(name):
            raise UnsupportedAdapter(
                f"The adapter targets {name}, a {type(module).__name__} of one expert, which cannot tell tokens' rows.",
                "Leave it out of the pool.",
            )
        if not _is_linear(module):
            raise UnsupportedAdapter(
                f"The adapter targets {name}, a {type(module).__name__} and not a Linear or Conv1D.",
                "Leave it out of the pool.",
            )
        return module

    def block(self, name: str) -> nn.Module:
        """The base's decoder block of that name, which `block_of` gave of a module that is in it."""
        return self._modules[name]

    def _placed(self, name: str, tensor: torch.Tensor) -> torch.Tensor:
        placed = tensor.to(self._dtype).contiguous()
        if not torch.isfinite(placed).all():
            raise UnsupportedAdapter(
                f"The adapter is not finite in {str(self._dtype).removeprefix('torch.')} at {name}.",
                "Serve it in bfloat16 or float32 (LORAUTER_DTYPE), or leave it out of the pool.",
            )
        return placed


def _is_linear(module: nn.Module) -> TypeGuard[nn.Linear | Conv1D]:
    """Whether its output is Wx + c. A class that is made of a Linear and computes something else, a router of
    experts say, is none."""
    return any(isinstance(module, kind) and type(module).forward is kind.forward for kind in (nn.Linear, Conv1D))
