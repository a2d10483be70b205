"""Adapter bank: many adapters beside one frozen base, every row of a batch with its own mixture.

Knows: where held adapters lie, which rows of a batch use which, and which adapter to drop when full.
Does not know: tokens, decoding (lorauter/engine), or PEFT's files (lorauter/adapters/weights).

The output at a Linear or Conv1D W with bias c is, for a row with weights w_a over adapters a,

    y = Wx + c + Σ_a w_a [ d_a ∘ Wx + B'_a A_a x ]

with B' = sB and d = 0 for a LoRA (LORAUTER's output-space mixture, arXiv 2601.21795), and for a
DoRA (arXiv 2402.09353) with magnitude m, g = m / ‖W + sBA‖ by rows, B' = g ∘ sB and d = g - 1: the
usual g ∘ (W + sBA)x, written as an addition to the base's output so that it mixes like a LoRA.

Held adapters lie in tables (lorauter/engine/bank/table), one a module and width, so that a batch is planned with row
numbers alone; how the sum is taken is up to lorauter/engine/bank/products. That is exact for any mix of ranks and
targets; a module that no adapter touches does no work.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TypeGuard

import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

from catalog.errors import SettingError, UnsupportedAdapter
from lorauter.adapters.header import read_header
from lorauter.adapters.weights import AdapterWeights, LoraPair, read_adapter
from lorauter.engine.bank.gated_products import CandidateStack, stack_of
from lorauter.engine.bank.gated_rows import GatedRows
from lorauter.engine.bank.products import add_products
from lorauter.engine.bank.rows_of_slots import RowUses
from lorauter.engine.bank.table import AdapterTable, width_of
from lorauter.gates.protocol import Opened, TokenGate
from lorauter.routing.routes import added_up

_EXPERT = re.compile(r"(?:^|\.)experts\.\d+\.")

FindAdapter = Callable[[str], "Path | AdapterWeights"]
"""Adapter key → its folder, or its weights where they are made and not read."""


@dataclass(frozen=True, slots=True, eq=False)
class HeldPair:
    """One adapter at one module, on the device, with scaling folded in; on its way into a table.

    Args:
        a: (r, d_in). b: B'ᵀ, (r, d_out). d: DoRA's g - 1, (d_out,); None for a LoRA.
    """

    a: torch.Tensor
    b: torch.Tensor
    d: torch.Tensor | None


class RowTilt:
    """What DoRA scales, by row of the batch: Σ_a w_a d_a.

    Attributes:
        users: (users,) int64, the rows where it is not 0. value: of the users, (users, d_out).
    """

    __slots__ = ("_all", "users", "value")

    def __init__(self, value: torch.Tensor) -> None:
        self._all = value
        self.users = value.any(1).nonzero()[:, 0]
        self.value = value[self.users]

    def select(self, rows: torch.Tensor) -> None:
        """Keeps the given rows, in place."""
        self.__init__(self._all[rows])  # type: ignore[misc]

    def add(self, output: torch.Tensor, bias: torch.Tensor | None) -> None:
        """To an output (rows, tokens, d_out) of Wx + c, tilt ∘ Wx, in place."""
        own = output.index_select(0, self.users)
        product = own if bias is None else own - bias
        output.index_add_(0, self.users, self.value[:, None, :] * product)


@dataclass(frozen=True, slots=True, eq=False)
class Place:
    """Where an adapter lies at one module.

    Args:
        table: its module's table of its width. slot: its number there. d: DoRA's g - 1, (d_out,); None for a LoRA.
    """

    table: AdapterTable
    slot: int
    d: torch.Tensor | None


@dataclass(frozen=True, slots=True, eq=False)
class ModulePlan:
    """What a batch does at one module.

    Args:
        parts: tables, one a width, with the rows' uses of them. tilt: None without DoRA.
    """

    parts: tuple[tuple[AdapterTable, RowUses], ...]
    tilt: RowTilt | None


class BatchPlan:
    """What one batch does at each touched module. `select` keeps some of the rows while decoding goes on.

    Args:
        modules: what mixtures do, by module. rows: of the batch. gated: what gates do.
    """

    def __init__(self, modules: dict[str, ModulePlan], rows: int, gated: tuple[GatedRows, ...] = ()) -> None:
        self.modules = modules
        self.rows = rows
        self.gated = gated

    def select(self, rows: torch.Tensor) -> None:
        """Keeps the given rows (int64 indices into the present ones), in that order, in place."""
        shared: dict[int, RowUses | RowTilt] = {}
        for module in self.modules.values():
            shared |= {id(uses): uses for _, uses in module.parts}
            if module.tilt is not None:
                shared[id(module.tilt)] = module.tilt
        for part in shared.values():
            part.select(rows)
        for gated in self.gated:
            gated.select(rows)
        self.rows = len(rows)


class AdapterBank:
    """Holds adapters by key on the base's device, least recently used out first.

    Args:
        model: the frozen base.
        device: its device. dtype: its dtype; adapters are folded in fp32 and held in this.
        capacity: how many adapters may be held at a time.
        passing: reasons that reading an adapter lets pass, as of `read_adapter`.
    """

    def __init__(
        self, model: nn.Module, device: str, dtype: torch.dtype, capacity: int, passing: Collection[str] = ()
    ) -> None:
        if capacity < 1:
            raise SettingError(f"The adapter bank's capacity is {capacity}.", "Use 1 or more.")
        self.device = device
        self.dtype = dtype
        self.capacity = capacity
        self.passing = passing
        self._modules: dict[str, nn.Module] = dict(model.named_modules())
        self._held: OrderedDict[str, dict[str, Place]] = OrderedDict()
        self._tables: dict[tuple[str, int], AdapterTable] = {}
        self._stacks: dict[tuple[str, ...], dict[str, CandidateStack]] = {}

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
            pairs = {name: self.fold(name, pair) for name, pair in weights.modules.items()}
            self._drop(key)
            while len(self._held) >= self.capacity:
                self._drop(next(iter(self._held)))
            self._held[key] = {name: self._put(name, pair) for name, pair in pairs.items()}

    def check(self, key: str, find: FindAdapter) -> None:
        """Refuses what `add` would refuse, from config and header alone: no weights are read, nothing is held.

        Raises:
            UnsupportedAdapter: the cause names the key, the module and its class.
        """
        with naming(key):
            found = find(key)
            if not isinstance(found, AdapterWeights):
                header = read_header(found)
                for name in header.modules:  # first: what a module is tells more than the tensors' names do
                    self.linear(name)
                found = header.weights(self.passing)
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
                "Raise the engine's capacity (LORAUTER_CAPACITY), or make smaller batches.",
            )
        for key in distinct:  # first, so that loading a missing one cannot drop a needed one
            if key in self._held:
                self._held.move_to_end(key)
        for key in distinct:
            if key not in self._held:
                self._load(key, find)

    def plan(self, weighings: Sequence[Opened]) -> BatchPlan:
        """The plan of a batch with one mixture or gate a row, over held adapters.

        Raises:
            SettingError: an adapter is not held. UnsupportedAdapter: a gate's candidate is a DoRA.
        """
        gates = {id(one): one for one in weighings if isinstance(one, TokenGate)}
        rows = [{} if isinstance(one, TokenGate) else added_up(one) for one in weighings]
        keys = tuple(dict.fromkeys(key for row in rows for key in row))
        missing = [key for key in (*keys, *chain(*(g.adapters for g in gates.values()))) if key not in self._held]
        if missing:
            raise SettingError(f"Adapter {missing[0]!r} is not in the bank.", "Call ensure first.")
        stacks = self._stacked([gate.adapters for gate in gates.values()])
        used = {name: torch.tensor([one is gate for one in weighings]) for name, gate in gates.items()}
        gated = [GatedRows(g, stacks[g.adapters], used[name].to(self.device)) for name, g in gates.items()]
        return BatchPlan(self._planned(keys, rows), len(rows), tuple(gated))

    @contextmanager
    def serving(self, plan: BatchPlan) -> Iterator[None]:
        """Within it, the base computes with the plan's adapters; outside it is the bare base."""
        hooks = [
            self.linear(name).register_forward_hook(_by_row(plan, _hook(module, self.linear(name).bias)))
            for name, module in plan.modules.items()
        ]
        hooks += [  # last: a DoRA of a mixture must see the base's own output
            self.linear(name).register_forward_hook(_by_row(plan, _gated_hook(gated, name)))
            for gated in plan.gated
            for name in gated.stacks
        ]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    def _load(self, key: str, find: FindAdapter | None) -> None:
        if find is None:
            raise SettingError(f"Adapter {key!r} is not held.", "Give the engine a find_adapter.")
        with naming(key):
            self.add(key, weights_found(key, find, self.passing))

    def fold(self, name: str, pair: LoraPair) -> HeldPair:
        """What `add` would hold of an adapter at one module, without holding it.

        Raises:
            UnsupportedAdapter: as `add`.
        """
        weight = self._weight(name, pair)
        a = pair.a.to(self.device)
        b = pair.b.to(self.device, torch.float32) * pair.scaling
        if pair.magnitude is None:
            return HeldPair(self._placed(name, a), self._placed(name, b.T), None)
        norm = torch.linalg.vector_norm(weight.float() + b @ a.float(), dim=1)
        gain = pair.magnitude.to(self.device, torch.float32) / norm
        b = gain[:, None] * b
        return HeldPair(self._placed(name, a), self._placed(name, b.T), self._placed(name, gain - 1))

    def _weight(self, name: str, pair: LoraPair) -> torch.Tensor:
        """W of the module that a pair changes, (d_out, d_in): a Conv1D stores it the other way round."""
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

    def _placed(self, name: str, tensor: torch.Tensor) -> torch.Tensor:
        placed = tensor.to(self.dtype).contiguous()
        if not torch.isfinite(placed).all():
            raise UnsupportedAdapter(
                f"The adapter is not finite in {str(self.dtype).removeprefix('torch.')} at {name}.",
                "Serve it in bfloat16 or float32 (LORAUTER_DTYPE), or leave it out of the pool.",
            )
        return placed

    def _put(self, name: str, pair: HeldPair) -> Place:
        width = width_of(len(pair.a))
        if (name, width) not in self._tables:
            shape = pair.a.shape[1], pair.b.shape[1], width
            self._tables[name, width] = AdapterTable(*shape, self.capacity, self.device, self.dtype)
        table = self._tables[name, width]
        return Place(table, table.put(pair.a, pair.b), pair.d)

    def _drop(self, key: str) -> None:
        """Forgets an adapter, tables that it leaves empty, and stacks that it is part of."""
        self._stacks = {keys: stack for keys, stack in self._stacks.items() if key not in keys}
        for name, place in self._held.pop(key, {}).items():
            place.table.release(place.slot)
            if place.table.empty:
                del self._tables[name, place.table.width]

    def _stacked(self, wanted: Iterable[tuple[str, ...]]) -> dict[tuple[str, ...], dict[str, CandidateStack]]:
        """The stacks of sets of candidates. Those of the last batch with gates are kept."""
        found = {keys: self._stacks.get(keys) or self._stack(keys) for keys in wanted}
        self._stacks = found or self._stacks
        return found

    def _stack(self, keys: tuple[str, ...]) -> dict[str, CandidateStack]:
        slots: dict[str, dict[int, tuple[AdapterTable, int]]] = {}
        for number, key in enumerate(keys):
            for name, place in self._held[key].items():
                if place.d is not None:
                    raise UnsupportedAdapter(
                        f"{key}: The adapter is a DoRA, which no gate weighs token by token.",
                        "Leave it out of the gate's candidates.",
                    )
                slots.setdefault(name, {})[number] = place.table, place.slot
        return {name: stack_of(places) for name, places in slots.items()}

    def _planned(self, keys: tuple[str, ...], rows: list[dict[str, float]]) -> dict[str, ModulePlan]:
        """The plan of every touched module."""
        touching: dict[str, dict[int, Place]] = {}
        for column, key in enumerate(keys):
            for name, place in self._held[key].items():
                touching.setdefault(name, {})[column] = place
        uses = _UsesOf(keys, rows, self.device, self.dtype)
        return {name: ModulePlan(tuple(uses.of(places)), self._tilt(uses, places)) for name, places in touching.items()}

    def _tilt(self, uses: _UsesOf, places: Mapping[int, Place]) -> RowTilt | None:
        tilted = {column: place.d for column, place in places.items() if place.d is not None}
        if not tilted:
            return None
        weights = uses.weights()[:, list(tilted)]
        return RowTilt((weights @ torch.stack(list(tilted.values())).float()).to(self.dtype))


class _UsesOf:
    """A batch's mixtures as uses of slots: the same slots at two modules give one and the same `RowUses`."""

    def __init__(
        self, keys: Sequence[str], rows: Sequence[Mapping[str, float]], device: str, dtype: torch.dtype
    ) -> None:
        column = {key: number for number, key in enumerate(keys)}
        self._uses = [(row, column[key], weight) for row, mixture in enumerate(rows) for key, weight in mixture.items()]
        self._batch, self._columns, self._device, self._dtype = len(rows), len(keys), device, dtype
        self._known: dict[tuple[tuple[int, int], ...], RowUses] = {}

    def of(self, places: Mapping[int, Place]) -> Iterator[tuple[AdapterTable, RowUses]]:
        """Each table with its uses; `places` by the column of their key."""
        slots: dict[AdapterTable, dict[int, int]] = {}
        for column, place in places.items():
            slots.setdefault(place.table, {})[column] = place.slot
        for table, by_column in slots.items():
            name = tuple(by_column.items())
            if name not in self._known:
                self._known[name] = self._made(by_column)
            yield table, self._known[name]

    def weights(self) -> torch.Tensor:
        """(rows, keys) in fp32."""
        found = torch.zeros(self._batch, self._columns)
        for row, column, weight in self._uses:
            found[row, column] = weight
        return found.to(self._device)

    def _made(self, slots: Mapping[int, int]) -> RowUses:
        used = [(row, slots[column], weight) for row, column, weight in self._uses if column in slots]
        rows, numbers = torch.tensor([use[:2] for use in used], dtype=torch.int64, device=self._device).view(-1, 2).T
        weights = torch.tensor([weight for *_, weight in used], device=self._device).to(self._dtype)
        return RowUses(rows.contiguous(), numbers.contiguous(), weights, self._batch)


def weights_found(key: str, find: FindAdapter, passing: Collection[str] = ()) -> AdapterWeights:
    """An adapter's weights, read where `find` gives a folder, letting `passing` reasons pass.

    Raises:
        UnsupportedAdapter: as `read_adapter`.
    """
    found = find(key)
    return found if isinstance(found, AdapterWeights) else read_adapter(found, passing)


@contextmanager
def naming(key: str) -> Iterator[None]:
    """Says whose the fault is."""
    try:
        yield
    except UnsupportedAdapter as error:
        raise UnsupportedAdapter(f"{key}: {error.cause}", error.next_step) from error


def _is_linear(module: nn.Module) -> TypeGuard[nn.Linear | Conv1D]:
    """Whether its output is Wx + c. A class that is made of a Linear and computes something else, a router of
    experts say, is none."""
    return any(isinstance(module, kind) and type(module).forward is kind.forward for kind in (nn.Linear, Conv1D))


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


def _hook(plan: ModulePlan, bias: torch.Tensor | None) -> Hook:
    """Adds a module's part to its output, in place: the output is nobody else's yet."""

    def add(module: nn.Module, inputs: tuple[torch.Tensor], output: torch.Tensor) -> torch.Tensor:
        if plan.tilt is not None:
            plan.tilt.add(output, bias)
        for table, uses in plan.parts:
            output = add_products(table, uses, inputs[0], output)
        return output

    return add


def _gated_hook(gated: GatedRows, name: str) -> Hook:
    """Adds what a gate weighs."""

    def add(module: nn.Module, inputs: tuple[torch.Tensor], output: torch.Tensor) -> torch.Tensor:
        return gated.add(name, inputs[0], output)

    return add
