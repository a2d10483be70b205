"""A frozen base in float32 that adds gated adapters out of place, so that gates can be trained through it.

Knows: the products that the engine takes in place (lorauter/engine/bank), for the same candidates in all rows, with
gradients. Does not know: how a gate weighs, losses.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch

from lorauter.adapters.weights import AdapterWeights, LoraPair
from lorauter.gates.blocks import block_of
from lorauter.train.token_batches import TokenBatch

Weigh = Callable[[str, torch.Tensor, torch.Tensor], torch.Tensor]
"""(module, its input x (rows, tokens, d_in), A_a x (rows, tokens, K, width)) → weights (rows, tokens, K)."""
WeighBlock = Callable[[str, torch.Tensor], torch.Tensor]
"""(block, its input (rows, tokens, d)) → weights (rows, tokens, K) for all of the block's modules."""


@dataclass(frozen=True, slots=True, eq=False)
class Candidates:
    """The K candidates at one module, float32; 0 where one does not touch it, and beyond its rank.

    Args:
        a: (K × width, d_in).
        b: (K, width, d_out), scaling folded in.
    """

    a: torch.Tensor
    b: torch.Tensor


class GatedBase:
    """The base with hooks that add Σ_a w_a s_a B_a A_a x.

    Args:
        base: frozen model and tokenizer, see `frozen_base`.
        adapters: the K candidates; none is a DoRA.
        device: where the model is.
        half: whether products are taken in bfloat16, by autocast: several times as fast, and no longer exact.
    """

    def __init__(
        self, base: tuple[Any, Any], adapters: Sequence[AdapterWeights], device: str, half: bool = False
    ) -> None:
        self.model, self.tokenizer = base
        self.device, self.count, self._half = device, len(adapters), half
        self.candidates = {name: _candidates(pairs, len(adapters), device) for name, pairs in _by_module(adapters)}

    @property
    def modules(self) -> tuple[str, ...]:
        """Names of the modules that a candidate touches."""
        return tuple(self.candidates)

    @property
    def blocks(self) -> tuple[str, ...]:
        """Names of their decoder blocks."""
        return tuple(dict.fromkeys(map(block_of, self.candidates)))

    def logits(
        self, batch: TokenBatch, weigh: Weigh | None = None, weigh_block: WeighBlock | None = None
    ) -> torch.Tensor:
        """Logits (rows, tokens from the first goal on, vocabulary), fp32.

        Args:
            batch: tokens.
            weigh: says what candidates weigh, module by module.
            weigh_block: or block by block.
        """
        halved = torch.autocast(self.device.partition(":")[0], torch.bfloat16) if self._half else nullcontext()
        with self._gated(len(batch.ids), weigh, weigh_block), halved:
            logits: torch.Tensor = self.model(
                input_ids=batch.ids,
                attention_mask=batch.mask,
                position_ids=batch.positions,
                logits_to_keep=batch.goals.shape[1],
                use_cache=False,
            ).logits
        return logits.float()

    @contextmanager
    def _gated(self, rows: int, weigh: Weigh | None, weigh_block: WeighBlock | None) -> Iterator[None]:
        said: dict[str, torch.Tensor] = {}
        hooks = []
        if weigh_block is not None:
            for block in self.blocks:
                hooks.append(self._module(block).register_forward_pre_hook(_reader(block, weigh_block, said)))

            def weigh_module(module: str, _x: torch.Tensor, _hidden: torch.Tensor) -> torch.Tensor:
                return said[block_of(module)]

            weigh = weigh_module
        if weigh is not None:
            for name, candidates in self.candidates.items():
                hooks.append(self._module(name).register_forward_hook(_adder(name, candidates, rows, weigh)))
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    def _module(self, name: str) -> Any:
        return self.model.get_submodule(name)


def _reader(block: str, weigh: WeighBlock, said: dict[str, torch.Tensor]) -> Callable[..., None]:
    def read(_module: Any, inputs: tuple[torch.Tensor, ...]) -> None:
        said[block] = weigh(block, inputs[0])

    return read


def _adder(name: str, candidates: Candidates, rows: int, weigh: Weigh) -> Callable[..., torch.Tensor]:
    def add(_module: Any, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> torch.Tensor:
        x = inputs[0].reshape(rows, -1, inputs[0].shape[-1])
        count, width, _ = candidates.b.shape
        hidden = (x @ candidates.a.T).view(*x.shape[:2], count, width)
        weighed = hidden * weigh(name, x, hidden)[..., None].to(hidden.dtype)
        return output + (weighed.flatten(2) @ candidates.b.flatten(0, 1)).view(output.shape)

    return add


def _by_module(adapters: Sequence[AdapterWeights]) -> Iterator[tuple[str, Mapping[int, LoraPair]]]:
    """Module → the pairs there by the candidate's number."""
    names = dict.fromkeys(name for one in adapters for name in one.modules)
    for name in names:
        yield name, {number: one.modules[name] for number, one in enumerate(adapters) if name in one.modules}


def _candidates(pairs: Mapping[int, LoraPair], count: int, device: str) -> Candidates:
    first = next(iter(pairs.values()))
    width = max(len(pair.a) for pair in pairs.values())
    a, b = torch.zeros(count, width, first.a.shape[1]), torch.zeros(count, width, first.b.shape[0])
    for number, pair in pairs.items():
        a[number, : len(pair.a)] = pair.a.float()
        b[number, : len(pair.a)] = pair.scaling * pair.b.float().T
    return Candidates(a.flatten(0, 1).to(device), b.to(device))
