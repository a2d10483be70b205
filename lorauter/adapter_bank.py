"""Adapter bank: many adapters beside one frozen base, every row of a batch with its own mixture.

Knows: how held adapters become one product a module, and which adapter to drop when full.
Does not know: tokens, decoding (lorauter/engine), or PEFT's files (lorauter/adapter_weights).

The output at a Linear or Conv1D W with bias c is, for a row with weights w_a over adapters a,

    y = Wx + c + Σ_a w_a [ d_a ∘ Wx + B'_a A_a x ]

with B' = sB and d = 0 for a LoRA (LORAUTER's output-space mixture, arXiv 2601.21795), and for a
DoRA (arXiv 2402.09353) with magnitude m, g = m / ‖W + sBA‖ by rows, B' = g ∘ sB and d = g - 1: the
usual g ∘ (W + sBA)x, written as an addition to the base's output so that it mixes like a LoRA.

A batch's adapters are stacked: with A_cat (Σr × d_in) and B_cat (Σr × d_out) over the distinct
adapters that touch the module, the sum is ((x A_catᵀ) ∘ M) B_cat, where row i of the mask M
(rows × Σr) holds w_a in the columns of the adapters that row uses and 0 elsewhere. That is exact
for any mix of ranks and targets, without padding; a module that no adapter touches does no work.
Where the stack is much taller than what any one row uses, each row's own columns are gathered and
the same two products are taken row by row (`gathering_pays`).
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeGuard

import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

from catalog.errors import SettingError, UnsupportedAdapter
from lorauter.adapter_header import read_header
from lorauter.adapter_weights import AdapterWeights, LoraPair, read_adapter
from lorauter.routing import Mixture, added_up

_EXPERT = re.compile(r"(?:^|\.)experts\.\d+\.")

FindAdapter = Callable[[str], "Path | AdapterWeights"]
"""Adapter key → its folder, or its weights where they are made and not read."""


@dataclass(frozen=True, slots=True, eq=False)
class HeldPair:
    """One adapter at one module, on the device, with scaling folded in.

    Args:
        a: (r, d_in). b: B'ᵀ, (r, d_out). d: DoRA's g - 1, (d_out,); None for a LoRA.
    """

    a: torch.Tensor
    b: torch.Tensor
    d: torch.Tensor | None


@dataclass(slots=True, eq=False)
class RowTilt:
    """A matrix with one line a row of the batch: Σ_a w_a d_a, (rows, d_out)."""

    value: torch.Tensor

    def select(self, rows: torch.Tensor) -> None:
        """Keeps the given rows, in place."""
        self.value = self.value[rows]


class RowMask:
    """Which columns of a stack each row uses, and with what weight; shared by the modules where it is the same.

    Attributes:
        users: rows that use any column, int64; None where most do, and then all rows count as users.
        value: M of the users, (users, R). full: whether M is 1 throughout.
        columns: (users, the most that one uses), int64: a row's own columns in their order, filled up with unused
            ones. own: M at `columns`, 0 where unused.
    """

    __slots__ = ("_all", "columns", "full", "own", "users", "value")

    def __init__(self, value: torch.Tensor) -> None:
        self._all = value
        used = value != 0
        users = used.any(1).nonzero()[:, 0]
        few = 2 * len(users) <= len(value)
        self.users: torch.Tensor | None = users if few else None
        self.value = value[users] if few else value
        used = used[users] if few else used
        most = max(1, int(used.sum(1).max())) if len(used) else 1
        self.columns = torch.argsort(used, dim=1, descending=True, stable=True)[:, :most].contiguous()
        self.own = self.value.gather(1, self.columns)
        self.full = bool((self.value == 1).all())

    def select(self, rows: torch.Tensor) -> None:
        """Keeps the given rows, in place."""
        self.__init__(self._all[rows])  # type: ignore[misc]


@dataclass(frozen=True, slots=True, eq=False)
class Stack:
    """What a batch does at one module.

    Args:
        a: A_cat, (R, d_in). b: B_cat, (R, d_out).
        mask: which columns a row uses. tilt: None without DoRA.
    """

    a: torch.Tensor
    b: torch.Tensor
    mask: RowMask
    tilt: RowTilt | None


class BatchPlan:
    """The stacks of one batch. `select` keeps some of the rows while decoding goes on."""

    def __init__(self, stacks: dict[str, Stack], rows: int) -> None:
        self.stacks = stacks
        self.rows = rows

    def select(self, rows: torch.Tensor) -> None:
        """Keeps the given rows (int64 indices into the present ones), in that order, in place."""
        shared = {id(part): part for s in self.stacks.values() for part in (s.mask, s.tilt) if part is not None}
        for part in shared.values():
            part.select(rows)
        self.rows = len(rows)


class AdapterBank:
    """Holds adapters by key on the base's device, least recently used out first.

    Args:
        model: the frozen base.
        device: its device. dtype: its dtype; adapters are folded in fp32 and held in this.
        capacity: how many adapters may be held at a time.
    """

    def __init__(self, model: nn.Module, device: str, dtype: torch.dtype, capacity: int) -> None:
        if capacity < 1:
            raise SettingError(f"The adapter bank's capacity is {capacity}.", "Use 1 or more.")
        self.device = device
        self.dtype = dtype
        self.capacity = capacity
        self._modules: dict[str, nn.Module] = dict(model.named_modules())
        self._held: OrderedDict[str, dict[str, HeldPair]] = OrderedDict()

    @property
    def keys(self) -> tuple[str, ...]:
        """Held adapters, least recently used first."""
        return tuple(self._held)

    def add(self, key: str, weights: AdapterWeights) -> None:
        """Holds an adapter, dropping the least recently used one when full.

        Raises:
            UnsupportedAdapter: a module is not in the base, is no Linear or Conv1D, or has another shape.
        """
        with torch.inference_mode():
            pairs = {name: self._fold(name, pair) for name, pair in weights.modules.items()}
        self._held.pop(key, None)
        while len(self._held) >= self.capacity:
            self._held.popitem(last=False)
        self._held[key] = pairs

    def check(self, key: str, find: FindAdapter) -> None:
        """Refuses what `add` would refuse, from config and header alone: no weights are read, nothing is held.

        Raises:
            UnsupportedAdapter: the cause names the key, the module and its class.
        """
        with _naming(key):
            found = find(key)
            if not isinstance(found, AdapterWeights):
                header = read_header(found)
                for name in header.modules:  # first: what a module is tells more than the tensors' names do
                    self._linear(name)
                found = header.weights()
            for name, pair in found.modules.items():
                self._weight(name, pair)

    def ensure(self, keys: Sequence[str], find: FindAdapter | None = None) -> None:
        """Makes all `keys` held at once; `find` gives the folder, or the weights, of one that is not.

        Raises:
            SettingError: more distinct keys than the capacity, or a missing one and no `find`.
            UnsupportedAdapter: as `add` and `read_adapter`; the cause names the key.
        """
        distinct = tuple(dict.fromkeys(keys))
        if len(distinct) > self.capacity:
            raise SettingError(
                f"A batch needs {len(distinct)} adapters and the bank holds {self.capacity}.",
                "Raise the engine's capacity or make smaller batches.",
            )
        for key in distinct:  # first, so that loading a missing one cannot drop a needed one
            if key in self._held:
                self._held.move_to_end(key)
        for key in distinct:
            if key not in self._held:
                self._load(key, find)

    def plan(self, mixtures: Sequence[Mixture]) -> BatchPlan:
        """The plan of a batch with one mixture a row, over held adapters.

        Raises:
            SettingError: an adapter is not held.
        """
        rows = [added_up(mixture) for mixture in mixtures]
        keys = tuple(dict.fromkeys(key for row in rows for key in row))
        missing = [key for key in keys if key not in self._held]
        if missing:
            raise SettingError(f"Adapter {missing[0]!r} is not in the bank.", "Call ensure first.")
        weights = torch.tensor([[row.get(key, 0.0) for key in keys] for row in rows], device=self.device)
        return BatchPlan(self._stacks(keys, weights), len(rows))

    @contextmanager
    def serving(self, plan: BatchPlan) -> Iterator[None]:
        """Within it, the base computes with the plan's adapters; outside it is the bare base."""
        hooks = [
            self._linear(name).register_forward_hook(_by_row(plan, _hook(stack, self._linear(name).bias)))
            for name, stack in plan.stacks.items()
        ]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    def _load(self, key: str, find: FindAdapter | None) -> None:
        if find is None:
            raise SettingError(f"Adapter {key!r} is not held.", "Give the engine a find_adapter.")
        with _naming(key):
            found = find(key)
            self.add(key, found if isinstance(found, AdapterWeights) else read_adapter(found))

    def _fold(self, name: str, pair: LoraPair) -> HeldPair:
        weight = self._weight(name, pair)
        a = pair.a.to(self.device)
        b = pair.b.to(self.device, torch.float32) * pair.scaling
        if pair.magnitude is None:
            return HeldPair(self._placed(a), self._placed(b.T), None)
        norm = torch.linalg.vector_norm(weight.float() + b @ a.float(), dim=1)
        gain = pair.magnitude.to(self.device, torch.float32) / norm
        return HeldPair(self._placed(a), self._placed((gain[:, None] * b).T), self._placed(gain - 1))

    def _weight(self, name: str, pair: LoraPair) -> torch.Tensor:
        """W of the module that a pair changes, (d_out, d_in): a Conv1D stores it the other way round."""
        base = self._linear(name)
        weight = base.weight.T if isinstance(base, Conv1D) else base.weight
        if weight.shape != (pair.b.shape[0], pair.a.shape[1]):
            raise UnsupportedAdapter(
                f"The adapter has a shape mismatch at {name}, a {type(base).__name__}: the base's weight is "
                f"{tuple(weight.shape)}, the adapter's {(pair.b.shape[0], pair.a.shape[1])}.",
                "Check that it was trained on this base.",
            )
        return weight

    def _linear(self, name: str) -> nn.Linear | Conv1D:
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

    def _placed(self, tensor: torch.Tensor) -> torch.Tensor:
        return tensor.to(self.dtype).contiguous()

    def _stacks(self, keys: tuple[str, ...], weights: torch.Tensor) -> dict[str, Stack]:
        """The stack of every touched module; `weights` is (rows, len(keys)) in fp32."""
        touching: dict[str, list[int]] = {}
        for column, key in enumerate(keys):
            for name in self._held[key]:
                touching.setdefault(name, []).append(column)
        masks: dict[tuple[tuple[int, ...], tuple[int, ...]], RowMask] = {}
        stacks = {}
        for name, columns in touching.items():
            pairs = [self._held[keys[column]][name] for column in columns]
            ranks = tuple(pair.a.shape[0] for pair in pairs)
            shape = (tuple(columns), ranks)
            if shape not in masks:
                masks[shape] = self._mask(weights[:, columns], ranks)
            stacks[name] = Stack(
                _joined([pair.a for pair in pairs]),
                _joined([pair.b for pair in pairs]),
                masks[shape],
                self._tilt(weights[:, columns], pairs),
            )
        return stacks

    def _mask(self, weights: torch.Tensor, ranks: tuple[int, ...]) -> RowMask:
        repeats = torch.tensor(ranks, device=self.device)
        return RowMask(weights.repeat_interleave(repeats, dim=1).to(self.dtype))

    def _tilt(self, weights: torch.Tensor, pairs: list[HeldPair]) -> RowTilt | None:
        tilted = [(column, pair.d) for column, pair in enumerate(pairs) if pair.d is not None]
        if not tilted:
            return None
        vectors = torch.stack([d for _, d in tilted]).float()
        return RowTilt((weights[:, [column for column, _ in tilted]] @ vectors).to(self.dtype))


@contextmanager
def _naming(key: str) -> Iterator[None]:
    """Says whose the fault is."""
    try:
        yield
    except UnsupportedAdapter as error:
        raise UnsupportedAdapter(f"{key}: {error.cause}", error.next_step) from error


def _is_linear(module: nn.Module) -> TypeGuard[nn.Linear | Conv1D]:
    """Whether its output is Wx + c. A class that is made of a Linear and computes something else, a router of
    experts say, is none."""
    return any(isinstance(module, kind) and type(module).forward is kind.forward for kind in (nn.Linear, Conv1D))


def _joined(parts: list[torch.Tensor]) -> torch.Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def gathering_pays(tokens: int, stacked: int, own: int, width: int) -> bool:
    """Whether two products for each row beat two for the whole stack; a pure function of shapes.

    Args:
        tokens: of all rows together. stacked: R. own: the most columns that a row uses. width: d_in + d_out.

    Fitted to 2 CPU cores in bf16, 64 rows of 1 to 40 tokens, 2 to 64 adapters of rank 8 or 16: a column costs a
    token about three times as much in small products, and those take some 45 us more to start.
    """
    return stacked > 3 * own + 2e7 / (tokens * width)


Hook = Callable[[nn.Module, tuple[torch.Tensor], torch.Tensor], torch.Tensor]


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


def _hook(stack: Stack, bias: torch.Tensor | None) -> Hook:
    """Adds a stack's part to a Linear's output, in place: the output is nobody else's yet."""

    def add(module: nn.Module, inputs: tuple[torch.Tensor], output: torch.Tensor) -> torch.Tensor:
        users = stack.mask.users
        if users is None:
            return _add(stack, bias, inputs[0], output)
        if len(users) == 0:
            return output
        added = _add(stack, bias, inputs[0].index_select(0, users), output.index_select(0, users))
        return output.index_copy_(0, users, added)

    return add


def _add(stack: Stack, bias: torch.Tensor | None, x: torch.Tensor, output: torch.Tensor) -> torch.Tensor:
    """`output` (users, tokens, d_out) plus the stack's part of `x` (users, tokens, d_in)."""
    mask, stacked = stack.mask, stack.a.shape[0]
    if stack.tilt is not None:
        tilt = stack.tilt.value if mask.users is None else stack.tilt.value[mask.users]
        output = output + tilt[:, None, :] * (output if bias is None else output - bias)
    width = x.shape[-1] + output.shape[-1]
    if gathering_pays(x.numel() // x.shape[-1], stacked, mask.columns.shape[1], width):
        return _add_gathered(stack, x, output)
    hidden = nn.functional.linear(x, stack.a)
    if not mask.full:
        hidden *= mask.value[:, None, :]
    output.view(-1, output.shape[-1]).addmm_(hidden.view(-1, stacked), stack.b)
    return output


def _add_gathered(stack: Stack, x: torch.Tensor, output: torch.Tensor) -> torch.Tensor:
    """The same sum with a stack of its own for every row."""
    rows, most = stack.mask.columns.shape
    columns = stack.mask.columns.view(-1)
    a = stack.a.index_select(0, columns).view(rows, most, -1)
    b = stack.b.index_select(0, columns).view(rows, most, -1)
    hidden = torch.bmm(x, a.transpose(1, 2))
    hidden *= stack.mask.own[:, None, :]
    return output.baddbmm_(hidden, b)
