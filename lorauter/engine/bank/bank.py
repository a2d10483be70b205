"""Adapter bank: many adapters beside one frozen base, every row of a batch with its own mixture.

Knows: which adapters are held and where they lie, and which one to drop when full. Does not know: what an adapter comes
to at a module (lorauter/engine/bank/base_modules), what a batch does with it (lorauter/engine/bank/batch_plan), tokens,
decoding (lorauter/engine), or PEFT's files (lorauter/adapters/weights).

The output at a Linear or Conv1D W with bias c is, for a row with weights w_a over adapters a,

    y = Wx + c + Σ_a w_a [ d_a ∘ Wx + B'_a A_a x ]

LORAUTER's output-space mixture (arXiv 2601.21795); what B' and d are, for a LoRA and a DoRA, says
lorauter/engine/bank/base_modules.

Held adapters lie in tables (lorauter/engine/bank/table), one a module and width, so that a batch is planned with row
numbers alone; how the sum is taken is up to lorauter/engine/bank/deltas. That is exact for any mix of ranks and
targets; a module that no adapter touches does no work.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Iterable, Sequence
from contextlib import AbstractContextManager
from itertools import chain

import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

from catalog.errors import SettingError, UnsupportedAdapter
from lorauter.adapters.header import read_header
from lorauter.adapters.weights import AdapterWeights, LoraPair
from lorauter.engine.bank.base_modules import BaseModules, HeldPair
from lorauter.engine.bank.batch_plan import BatchPlan, Place, planned
from lorauter.engine.bank.finding import FindAdapter, naming, weights_of
from lorauter.engine.bank.gated_deltas import CandidateStack, stack_of
from lorauter.engine.bank.gated_rows import GatedRows, GateRows
from lorauter.engine.bank.hooks import serving
from lorauter.engine.bank.own_rows import GateGroup, OwnRows, StackedRows, groups_of, own_parts, stack_pays
from lorauter.engine.bank.table import AdapterTable, width_of
from lorauter.gates.protocol import Opened, TokenGate
from lorauter.gates.row_gates import OwnGate
from lorauter.routing.routes import added_up


class AdapterBank:
    """Holds adapters by key on the base's device, least recently used out first; pinned ones stay.

    Args:
        model: the frozen base.
        device: its device.
        dtype: its dtype; adapters are folded in fp32 and held in this.
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
        self._modules = BaseModules(model, device, dtype)
        self._held: OrderedDict[str, dict[str, Place]] = OrderedDict()
        self._tables: dict[tuple[str, int], AdapterTable] = {}
        self._stacks: dict[tuple[str, ...], dict[str, CandidateStack]] = {}
        self._pinned: frozenset[str] = frozenset()

    @property
    def keys(self) -> tuple[str, ...]:
        """Held adapters, least recently used first."""
        return tuple(self._held)

    @property
    def pinned(self) -> frozenset[str]:
        """Adapters that are never dropped once they are held; a place is kept for each."""
        return self._pinned

    @property
    def free(self) -> int:
        """Places for adapters that are not pinned."""
        return self.capacity - len(self._pinned)

    def pin(self, keys: Iterable[str]) -> None:
        """Makes these the pinned adapters, and no others; each is loaded when a batch first needs it.

        Raises:
            SettingError: they leave no place for another one.
        """
        wanted = frozenset(keys)
        if wanted and len(wanted) >= self.capacity:
            raise SettingError(
                f"{len(wanted)} adapters are to stay in a bank of {self.capacity}, and one place must be free.",
                "Raise the engine's capacity (LORAUTER_CAPACITY), or keep fewer (LORAUTER_POLAR__RESIDENT).",
            )
        self._pinned = wanted

    def add(self, key: str, weights: AdapterWeights) -> None:
        """Holds an adapter, dropping the least recently used one that is not pinned when full.

        Raises:
            UnsupportedAdapter: a module is not in the base, is no Linear or Conv1D, or has another shape.
        """
        with torch.inference_mode():
            pairs = {name: self.fold(name, pair) for name, pair in weights.modules.items()}
            self._drop(key)
            while self._is_full_for(key):
                self._drop(next(held for held in self._held if held not in self._pinned))
            self._held[key] = {name: self._put(name, pair) for name, pair in pairs.items()}

    def check(self, key: str, find: FindAdapter) -> None:
        """Refuses what `add` would refuse, from config and header alone: no weights are read, nothing is held.

        Raises:
            UnsupportedAdapter: the cause names the key, the module and its class.
        """
        with naming(key):
            source = find(key)
            if not isinstance(source, AdapterWeights):
                header = read_header(source)
                for name in header.modules:  # first: what a module is tells more than the tensors' names do
                    self.linear(name)
                source = header.weights(self.passing)
            for name, pair in source.modules.items():
                self._modules.weight(name, pair)

    def ensure(self, keys: Sequence[str], find: FindAdapter | None = None) -> None:
        """Makes all `keys` held at once; `find` gives the folder, or the weights, of one that is not.

        Raises:
            SettingError: more distinct keys than the capacity, or a missing one and no `find`.
            UnsupportedAdapter: as `add` and `read_adapter`; the cause names the key.
        """
        distinct = tuple(dict.fromkeys(keys))
        others = len({*distinct} - self._pinned)
        if others > self.free:
            beside = f" beside {len(self._pinned)} that stay" if self._pinned else ""
            raise SettingError(
                f"A batch needs {others} adapters and the bank holds {self.free}{beside}.",
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
            SettingError: an adapter is not held.
            UnsupportedAdapter: a gate's candidate is a DoRA.
        """
        rows = [{} if isinstance(one, TokenGate | OwnGate) else added_up(one) for one in weighings]
        gates = {id(one): one for one in weighings if isinstance(one, TokenGate)}
        groups = groups_of(weighings, self.device)
        candidates = chain(*(gate.adapters for gate in gates.values()), *(group.union for group in groups))
        missing = [key for key in chain(*rows, candidates) if key not in self._held]
        if missing:
            raise SettingError(f"Adapter {missing[0]!r} is not in the bank.", "Call ensure first.")
        gated = self._gated(list(gates.values()), groups, weighings)
        return BatchPlan(planned(self._held, rows, self.device, self.dtype), len(rows), gated)

    def serving(self, plan: BatchPlan) -> AbstractContextManager[None]:
        """Within it, the base computes with the plan's adapters; outside it is the bare base."""
        return serving(plan, self.linear, self._modules.block)

    def fold(self, name: str, pair: LoraPair) -> HeldPair:
        """What `add` would hold of an adapter at one module, without holding it. Raises as `add`."""
        return self._modules.fold(name, pair)

    def linear(self, name: str) -> nn.Linear | Conv1D:
        """The base's module of that name. Raises UnsupportedAdapter: no adapter could be served there."""
        return self._modules.linear(name)

    def _load(self, key: str, find: FindAdapter | None) -> None:
        if find is None:
            raise SettingError(f"Adapter {key!r} is not held.", "Give the engine a find_adapter.")
        with naming(key):
            self.add(key, weights_of(key, find, self.passing))

    def _is_full_for(self, key: str) -> bool:
        """Whether one has to go before an adapter comes: a pinned one's place is nobody else's."""
        if key in self._pinned:
            return len(self._held) >= self.capacity
        return sum(held not in self._pinned for held in self._held) >= self.free

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

    def _gated(
        self, gates: Sequence[TokenGate], groups: Sequence[GateGroup], weighings: Sequence[Opened]
    ) -> tuple[GateRows, ...]:
        """What gates do in a batch."""
        stacked = [group for group in groups if stack_pays(group.distinct)]
        stacks = self._stacked([*(gate.adapters for gate in gates), *(group.union for group in stacked)])
        parts: list[GateRows] = []
        for gate in gates:
            used = torch.tensor([one is gate for one in weighings], device=self.device)
            parts.append(GatedRows(gate, stacks[gate.adapters], used))
        for group in groups:
            if group in stacked:
                parts.append(StackedRows(group, stacks[group.union]))
            else:
                self._refuse_doras(group.union)
                parts.append(OwnRows(group, own_parts(group, self._held, self.device)))
        return tuple(parts)

    def _stacked(self, wanted: Iterable[tuple[str, ...]]) -> dict[tuple[str, ...], dict[str, CandidateStack]]:
        """The stacks of sets of candidates. Those of the last batch with gates are kept."""
        stacks = {keys: self._stacks.get(keys) or self._stack(keys) for keys in wanted}
        self._stacks = stacks or self._stacks
        return stacks

    def _stack(self, keys: tuple[str, ...]) -> dict[str, CandidateStack]:
        self._refuse_doras(keys)
        slots: dict[str, dict[int, tuple[AdapterTable, int]]] = {}
        for number, key in enumerate(keys):
            for name, place in self._held[key].items():
                slots.setdefault(name, {})[number] = place.table, place.slot
        return {name: stack_of(places) for name, places in slots.items()}

    def _refuse_doras(self, keys: Sequence[str]) -> None:
        for key in keys:
            if any(place.d is not None for place in self._held[key].values()):
                raise UnsupportedAdapter(
                    f"{key}: The adapter is a DoRA, which no gate weighs token by token.",
                    "Leave it out of the gate's candidates.",
                )
