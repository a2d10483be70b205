"""Own rows: the rows of a batch with one gate and candidates of their own.

Knows: two ways to compute a row's own candidates, and which is chosen. Does not know: how a gate weighs
(lorauter/gates), how one table's part is taken (lorauter/engine/bank/own_slots).

    own     what no row asks for is not computed: the cost is that of a mixture of k adapters a row.
    stack   the candidates of all rows side by side, as of a gate with the same candidates in all rows
            (lorauter/engine/bank/gated_deltas), each token weighing its row's own: where rows mostly have the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch.nn import functional

from lorauter.engine.bank.batch_plan import Place
from lorauter.engine.bank.gated_deltas import CandidateStack
from lorauter.engine.bank.gated_rows import GateRows
from lorauter.engine.bank.own_slots import OwnSlots, ThroughTable, through
from lorauter.engine.bank.slot_weights import SlotWeights
from lorauter.engine.bank.table import AdapterTable
from lorauter.gates.protocol import Opened, reads_blocks
from lorauter.gates.row_gates import OwnGate, RowCandidates, RowGate

_FEW = 2  # times k: of so few candidates in all, the stack's two products cost less than gathering each row's own


def stack_pays(rows: Sequence[OwnGate]) -> bool:
    """Whether the candidates of all rows are computed for each of them."""
    union = {key for one in rows for key in one.adapters}
    return len(union) <= _FEW * max(len(one.adapters) for one in rows)


@dataclass(frozen=True, slots=True, eq=False)
class GateGroup:
    """The rows of one `RowGate` in a batch.

    Args:
        gate: theirs.
        distinct: its rows' gates, each once.
        numbers: (its rows,) int64, each one's place among `distinct`.
        used: (rows of the batch,) bool.
    """

    gate: RowGate
    distinct: tuple[OwnGate, ...]
    numbers: torch.Tensor
    used: torch.Tensor

    @property
    def union(self) -> tuple[str, ...]:
        """The candidates of all rows, sorted."""
        return tuple(sorted({key for one in self.distinct for key in one.adapters}))

    def candidates(self) -> RowCandidates:
        """As the gate sees them."""
        return RowCandidates(self.distinct, self.numbers)


def groups_of(weighings: Sequence[Opened], device: str) -> list[GateGroup]:
    """The rows with candidates of their own, by gate."""
    gates = {id(one.gate): one.gate for one in weighings if isinstance(one, OwnGate)}
    groups = []
    for gate in gates.values():
        own = [one if isinstance(one, OwnGate) and one.gate is gate else None for one in weighings]
        distinct = {one: None for one in own if one is not None}
        places = {one: place for place, one in enumerate(distinct)}
        numbers = torch.tensor([places[one] for one in own if one is not None], device=device)
        used = torch.tensor([one is not None for one in own], device=device)
        groups.append(GateGroup(gate, tuple(distinct), numbers, used))
    return groups


class _OwnRows(GateRows):
    """What both ways share: the rows' candidates go where the rows go."""

    __slots__ = ("gate", "own")

    def __init__(self, group: GateGroup, modules: tuple[str, ...]) -> None:
        self.gate, self.own = group.gate, group.candidates()
        super().__init__(group.used, modules, reads_blocks(group.gate))

    def select(self, kept: torch.Tensor) -> None:
        own = self._places(kept)
        self.own.select(own)
        self.select_own(own)
        super().select(kept)

    def select_own(self, kept: torch.Tensor) -> None:
        """Keeps the given ones of its own rows, in place."""

    def weigh(self, name: str, x: torch.Tensor) -> torch.Tensor:
        return self.gate.weigh_rows(name, x, self.own)

    def _places(self, kept: torch.Tensor) -> torch.Tensor:
        """Rows of the batch that stay as places among its own."""
        places = self._used.cumsum(0) - 1
        return places[kept][self._used[kept]]


class StackedRows(_OwnRows):
    """All rows against all candidates.

    Args:
        group: the rows.
        stacks: by module, over `group.union`.
    """

    __slots__ = ("_union", "stacks")

    def __init__(self, group: GateGroup, stacks: Mapping[str, CandidateStack]) -> None:
        self.stacks, self._union = stacks, group.union
        super().__init__(group, tuple(stacks))

    def add_own(self, module: str, x: torch.Tensor, output: torch.Tensor, said: torch.Tensor | None) -> torch.Tensor:
        """By the candidates of all rows side by side."""
        stack = self.stacks[module]
        product = x @ stack.a
        self.own.hidden = partial(self._hidden, module, product)
        said = self.weigh(module, x) if said is None else said
        said = said.to(x.dtype).where(self.own.there[:, None], 0)
        columns = self.own.per_row("places in the union", self._of_union)[:, None].expand(said.shape)
        weights = said.new_zeros(*said.shape[:2], len(self._union)).scatter_add_(2, columns, said)
        return stack.add_hidden(product, weights, output)

    def _hidden(self, module: str, product: torch.Tensor) -> torch.Tensor:
        """A x by candidate, from columns side by side."""
        owners = self.stacks[module].owners
        width = int(torch.bincount(owners).max())

        def columns_of(one: OwnGate) -> torch.Tensor:
            columns = torch.full((self.own.most, width), len(owners))
            for number, key in enumerate(one.adapters):
                own = (owners == self._union.index(key)).nonzero()[:, 0].cpu()
                columns[number, : len(own)] = own
            return columns

        columns = self.own.per_row(("columns", module), columns_of).flatten(1)
        padded = functional.pad(product, (0, 1))
        taken = padded.gather(2, columns[:, None].expand(-1, product.shape[1], -1))
        return taken.view(*product.shape[:2], self.own.most, width)

    def _of_union(self, one: OwnGate) -> torch.Tensor:
        places = [self._union.index(key) for key in one.adapters]
        return torch.tensor(places + [0] * (self.own.most - len(places)))


class OwnRows(_OwnRows):
    """Each row against its own candidates.

    Args:
        group: the rows.
        parts: by module, tables with who uses which slot.
    """

    __slots__ = ("_parts",)

    def __init__(self, group: GateGroup, parts: Mapping[str, Sequence[tuple[AdapterTable, OwnSlots]]]) -> None:
        self._parts = parts
        super().__init__(group, tuple(parts))

    def select_own(self, kept: torch.Tensor) -> None:
        """Who uses which slot goes with the rows."""
        for slots in {id(slots): slots for parts in self._parts.values() for _table, slots in parts}.values():
            slots.select(kept)

    def add_own(self, module: str, x: torch.Tensor, output: torch.Tensor, said: torch.Tensor | None) -> torch.Tensor:
        """By the row's own candidates alone."""
        parts = [(slots, through(table, slots, x)) for table, slots in self._parts[module] if len(slots.columns)]
        if not parts:  # the rows that touch the module have ended
            return output
        widest = max(table.width for table, _slots in self._parts[module])
        self.own.hidden = partial(_hidden, parts, x, self.own.most, widest)
        weights = (self.weigh(module, x) if said is None else said).to(x.dtype)
        for _slots, product in parts:
            output = product.add(weights, output)
        return output


def _hidden(parts: Sequence[tuple[OwnSlots, ThroughTable]], x: torch.Tensor, most: int, width: int) -> torch.Tensor:
    if len(parts) == 1 and parts[0][0].whole:
        return parts[0][1].spread(None, width)
    hidden = x.new_zeros(*x.shape[:2], most, width)
    for _slots, product in parts:
        product.spread(hidden, width)
    return hidden


def own_parts(
    group: GateGroup, held: Mapping[str, Mapping[str, Place]], device: str
) -> dict[str, list[tuple[AdapterTable, OwnSlots]]]:
    """What the rows use of each table, by module; modules with the same slots share one `OwnSlots`."""
    most = max(len(one.adapters) for one in group.distinct)
    uses = [
        (row, column, key)
        for row, number in enumerate(group.numbers.tolist())
        for column, key in enumerate(group.distinct[number].adapters)
    ]
    touching: dict[str, dict[AdapterTable, dict[str, int]]] = {}
    for key in group.union:
        for name, place in held[key].items():
            touching.setdefault(name, {}).setdefault(place.table, {})[key] = place.slot
    made: dict[tuple[tuple[str, int], ...], OwnSlots] = {}

    def slots_of(by_key: Mapping[str, int]) -> OwnSlots:
        name = tuple(by_key.items())
        if name not in made:
            entries = [(row, by_key[key], column) for row, column, key in uses if key in by_key]
            rows, slots, columns = torch.tensor(entries, dtype=torch.int64, device=device).T.contiguous()
            ones = torch.ones(len(rows), device=device)
            made[name] = OwnSlots(SlotWeights(rows, slots, ones, len(group.numbers)), columns, most)
        return made[name]

    return {name: [(table, slots_of(by_key)) for table, by_key in tables.items()] for name, tables in touching.items()}
